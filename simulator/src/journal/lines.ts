import type { StoredMessage } from "../messages.ts";
import type { WebhookEvent } from "../webhooks/event.ts";

/**
 * One line of the journal. `message` carries what it promised in the platform's own short form, so that a message is one
 * line; `webhook` is an event in full; `accepted` names events that are over; `state` and `counters` keep what a
 * compaction would lose.
 */
export type JournalLine =
  | { type: "message"; message: StoredMessage; firstNumber: number; promise: unknown }
  | { type: "webhook"; event: WebhookEvent }
  | { type: "accepted"; numbers: readonly number[] }
  | { type: "account"; fields: Readonly<Record<string, unknown>> }
  | { type: "state"; channel: string; state: unknown }
  | { type: "counters"; nextIndex: number; nextNumber: number };

/** Where the message's own JSON begins; quotes inside strings are escaped, so this occurs once before it. */
const MESSAGE_MARK = ',"message":';

/** The line's text, with its newline. */
export function encodeLine(line: JournalLine): string {
  if (line.type !== "message") return `${JSON.stringify(line)}\n`;
  const { index, channel, account, to, key, json } = line.message;
  const { firstNumber, promise } = line;
  const start = JSON.stringify({ type: "message", index, channel, account, to, key, firstNumber, promise });
  return `${start.slice(0, -1)}${MESSAGE_MARK}${json}}\n`;
}

/** Reads what `encodeLine` wrote, without its newline. Throws when it is something else. */
export function decodeLine(text: string): JournalLine {
  if (!text.startsWith('{"type":"message"')) {
    const line = JSON.parse(text) as JournalLine;
    if (typeof line.type !== "string") throw new Error("a line without a type");
    return line;
  }
  const mark = text.indexOf(MESSAGE_MARK);
  if (mark < 0 || !text.endsWith("}}")) throw new Error("a message line that breaks off");
  const { index, channel, account, to, key, firstNumber, promise } = JSON.parse(`${text.slice(0, mark)}}`);
  const json = text.slice(mark + MESSAGE_MARK.length, -1);
  return { type: "message", message: { index, channel, account, to, key, json }, firstNumber, promise };
}
