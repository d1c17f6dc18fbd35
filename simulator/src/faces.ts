import type { Face } from "./face.ts";
import { telegram } from "./telegram/telegram.ts";
import { whatsapp } from "./whatsapp/whatsapp.ts";

/** Every platform that is simulated: one folder and one line each. */
export const faces: readonly Face[] = [whatsapp, telegram];
