import type { NewMessage } from "./write-messages.ts";

/** Most JSON written to the database in one statement, in characters: encoding it as parameters takes milliseconds. */
export const maxPartLength = 256 * 1024;

/** The messages in order, in parts that one statement each writes. A longer message is a part by itself. */
export function inParts(messages: readonly NewMessage[]): NewMessage[][] {
  const parts: NewMessage[][] = [];
  let length = Number.POSITIVE_INFINITY;
  for (const message of messages) {
    const added = message.payload.length + (message.metadata?.length ?? 0);
    length += added;
    if (length <= maxPartLength) parts.at(-1)!.push(message);
    else {
      parts.push([message]);
      length = added;
    }
  }
  return parts;
}
