import type { Random } from "../random.ts";

/** Marks between the person and the serial of a message id. */
const MIDDLE = Buffer.from([0x15, 0x02, 0x00, 0x11, 0x18, 0x12]);

/** A new message id, shaped like the platform's: opaque, different for every message in either direction. */
export function newMessageId(random: Random, who: string): string {
  const name = Buffer.from(who.slice(0, 64), "latin1");
  const serial = Buffer.from(random.hex(18), "latin1");
  const bytes = Buffer.concat([Buffer.from([0x1c, 0x18, name.length]), name, MIDDLE, serial, Buffer.from([0])]);
  return `wamid.${bytes.toString("base64")}`;
}
