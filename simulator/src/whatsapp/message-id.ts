import type { Random } from "../random.ts";

/** Longest part of the person's name that an id carries. */
const maxNameLength = 64;

/** A new message id, shaped like the platform's: opaque, different for every message in either direction. */
export function newMessageId(random: Random, who: string): string {
  const name = who.slice(0, maxNameLength);
  const length = String.fromCharCode(name.length);
  return `wamid.${btoa(`\x1c\x18${length}${name}\x15\x02\x00\x11\x18\x12${random.hex(18)}\x00`)}`;
}
