import { createHash, randomFillSync } from "node:crypto";

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
  const bytes = pool.subarray(poolOffset, poolOffset + 16);
  poolOffset += 16;
  if (nowMs > lastMs) {
    lastMs = nowMs;
    counter = bytes.readUInt16BE(6) & 0x7ff;
  } else {
    counter += 1;
    if (counter > 0xfff) {
      lastMs += 1;
      counter = 0;
    }
  }
  bytes.writeUIntBE(lastMs, 0, 6);
  bytes.writeUInt16BE(0x7000 | counter, 6);
  bytes[8] = 0x80 | (bytes[8]! & 0x3f);
  return formatUuid(bytes) as Id;
}

/** A UUIDv8 (RFC 9562, 5.8) of the time and a SHA-256: a step that runs twice writes the same row. */
export function derivedId<Id extends string = string>(nowMs: number, ...parts: string[]): Id {
  const bytes = createHash("sha256").update(parts.join("\n")).digest().subarray(0, 16);
  bytes.writeUIntBE(nowMs, 0, 6);
  bytes[6] = 0x80 | (bytes[6]! & 0x0f);
  bytes[8] = 0x80 | (bytes[8]! & 0x3f);
  return formatUuid(bytes) as Id;
}

export function msOf(id: string): number {
  return Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16);
}

const uuidPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

export function isUuid(text: string): boolean {
  return uuidPattern.test(text);
}

function formatUuid(bytes: Buffer): string {
  const hex = bytes.toString("hex");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
