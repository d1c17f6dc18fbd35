import type { InputFile } from "../readers/read-whole.ts";
import type { Facts } from "./facts-message.ts";

/** Finds the facts of files of a kind. `thumbnail` is a WebP image. */
export type Describe = (file: InputFile, contentType: string) => Promise<Partial<Facts> & { thumbnail?: Uint8Array }>;
