import { hash, randomFillSync } from "node:crypto";

/** Rows and path parameters have these types; cast a string where it enters. */
type Id<Resource extends string> = string & { readonly resource: Resource };
export type ChannelAccountId = Id<"channel account">;
export type ConversationId = Id<"conversation">;
export type MessageId = Id<"message">;

const pool = Buffer.alloc(16 * 256);
let poolOffset = pool.length;
let lastMs = 0;
let counter = 0;

/** A UUIDv7 (RFC 9562, 5.7 and 6.2). Ids of one process sort in the order of their creation. */
export function newId<Id extends string = string>(nowMs: number): Id {
  if (poolOffset === pool.length) {
    randomFillSync(pool);
    poolOffset = 0;
  }
  const at = poolOffset;
  poolOffset += 16;
  if (nowMs > lastMs) {
    lastMs = nowMs;
    counter = ((pool[at + 6]! & 0x07) << 8) | pool[at + 7]!;
  } else {
    counter += 1;
    if (counter > 0xfff) {
      lastMs += 1;
      counter = 0;
    }
  }
  writeTime(pool, at, lastMs);
  pool[at + 6] = 0x70 | (counter >> 8);
  pool[at + 7] = counter;
  pool[at + 8] = 0x80 | (pool[at + 8]! & 0x3f);
  return formatUuid(pool, at) as Id;
}

/** A UUIDv8 (RFC 9562, 5.8) of the time and a SHA-256: a step that runs twice writes the same row. */
export function derivedId<Id extends string = string>(nowMs: number, ...parts: string[]): Id {
  const bytes = hash("sha256", parts.join("\n"), "buffer");
  writeTime(bytes, 0, nowMs);
  bytes[6] = 0x80 | (bytes[6]! & 0x0f);
  bytes[8] = 0x80 | (bytes[8]! & 0x3f);
  return formatUuid(bytes, 0) as Id;
}

/** Every id of a millisecond is between these two. The id of a delivery is of the time of its message, see migration 0031. */
export function firstIdAt(ms: number): string {
  return idAt(ms, "0");
}

export function lastIdAt(ms: number): string {
  return idAt(ms, "f");
}

function idAt(ms: number, digit: string): string {
  const hex = ms.toString(16).padStart(12, "0");
  return `${hex.slice(0, 8)}-${hex.slice(8)}-${digit.repeat(4)}-${digit.repeat(4)}-${digit.repeat(12)}`;
}

export function msOf(id: string): number {
  return Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16);
}

/** Rows of the next weeks have partitions already; those of a later time would be moved when theirs is made, see migration 0031. */
const mostAheadMs = 7 * 24 * 60 * 60_000;

/** Whether a time from outside is too far in the future for an id. */
export function isTooFarAhead(ms: number, nowMs: number): boolean {
  return ms > nowMs + mostAheadMs;
}

export function isUuidV7(id: string): boolean {
  return id[14] === "7";
}

const uuidPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

export function isUuid(text: string): boolean {
  return uuidPattern.test(text);
}

function writeTime(bytes: Buffer, at: number, ms: number): void {
  const high = Math.floor(ms / 2 ** 16);
  bytes[at] = high >>> 24;
  bytes[at + 1] = high >>> 16;
  bytes[at + 2] = high >>> 8;
  bytes[at + 3] = high;
  bytes[at + 4] = ms >>> 8;
  bytes[at + 5] = ms;
}

const text = Buffer.from("00000000-0000-0000-0000-000000000000");
/** Where the two digits of each byte are. */
const places = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];
const digits = Buffer.from("0123456789abcdef");

/** Of the 16 bytes from `at` on. Written byte by byte, because each call of a Buffer's method costs more than all of them. */
export function formatUuid(bytes: Buffer, at: number): string {
  for (let index = 0; index < 16; index += 1) {
    const byte = bytes[at + index]!;
    const place = places[index]!;
    text[place] = digits[byte >> 4]!;
    text[place + 1] = digits[byte & 0x0f]!;
  }
  return text.toString("latin1");
}
