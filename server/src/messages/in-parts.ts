import { inParts } from "../lib/in-parts.ts";
import type { NewMessage } from "./write-messages.ts";

/** Most JSON written to the database in one statement, in characters: encoding it as parameters takes milliseconds. */
export const maxPartLength = 256 * 1024;

/** Messages in parts that one statement each writes. */
export function messagesInParts(messages: readonly NewMessage[]): NewMessage[][] {
  return inParts(messages, ({ payload, metadata }) => payload.length + (metadata?.length ?? 0), maxPartLength);
}
