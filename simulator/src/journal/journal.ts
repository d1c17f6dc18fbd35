import fs from "node:fs";
import path from "node:path";
import type { Media } from "../media/media-store.ts";
import type { StoredMessage } from "../messages.ts";
import { Problem } from "../problem.ts";
import type { WebhookEvent } from "../webhooks/event.ts";

/** Below this size the file is never compacted while the simulator runs. */
const smallestCompactionBytes = 32 << 20;

type Snapshot = () => Iterable<JournalLine>;

/** What must survive a restart, on disk before the response. Without a file nothing survives. */
export class Journal {
  readonly #path: string | undefined;
  #file: LineFile | undefined;
  #snapshot: Snapshot | undefined;
  #compactAtBytes = Number.POSITIVE_INFINITY;

  constructor(path: string | undefined) {
    this.#path = path;
    this.#file = path === undefined ? undefined : new LineFile(path);
  }

  /** What an earlier run left, in order. Throws when the file is not a journal. */
  *read(): Generator<JournalLine> {
    let number = 0;
    for (const text of this.#file?.lines() ?? []) {
      number += 1;
      try {
        yield decodeLine(text);
      } catch (cause) {
        throw new Problem(500, "INTERNAL", `${this.#path} line ${number} is not a line of a simulator's journal`, {
          cause,
        });
      }
    }
  }

  /**
   * Call once after `read`: from here on lines are written. Cuts the file down to the snapshot, and again whenever it has
   * doubled since.
   */
  start(snapshot: Snapshot): void {
    this.#snapshot = snapshot;
    this.compact();
  }

  message(message: StoredMessage, firstNumber: number, promise: unknown): void {
    this.#append({ type: "message", message, firstNumber, promise });
  }

  webhook(event: WebhookEvent): void {
    this.#append({ type: "webhook", event });
  }

  accepted(numbers: readonly number[]): void {
    this.#append({ type: "accepted", numbers });
  }

  media(media: Media): void {
    this.#append({ type: "media", media });
  }

  account(fields: Readonly<Record<string, unknown>>): void {
    this.#append({ type: "account", fields });
  }

  compact(): void {
    if (!this.#file || !this.#snapshot) return;
    this.#file.replace(encodeAll(this.#snapshot()));
    this.#compactAtBytes = Math.max(smallestCompactionBytes, this.#file.sizeBytes * 2);
  }

  /** Afterwards nothing is written: a call that was held up may still come. Safe to call twice. */
  close(): void {
    this.#file?.close();
    this.#file = undefined;
  }

  #append(line: JournalLine): void {
    if (!this.#file || !this.#snapshot) return;
    if (this.#file.sizeBytes > this.#compactAtBytes) this.compact();
    this.#file.append(encodeLine(line));
  }
}

function* encodeAll(lines: Iterable<JournalLine>): Generator<string> {
  for (const line of lines) yield encodeLine(line);
}

/**
 * One line of the journal. `message` carries what it promised in the platform's own short form, so that a message is one
 * line, and the later of two lines of a message holds; `webhook` is an event in full; `accepted` names events that are
 * over; `media` is a file or what became of it; `state` and `counters` keep what a compaction would lose.
 */
export type JournalLine =
  | { type: "message"; message: StoredMessage; firstNumber: number; promise: unknown }
  | { type: "webhook"; event: WebhookEvent }
  | { type: "accepted"; numbers: readonly number[] }
  | { type: "media"; media: Media }
  | { type: "account"; fields: Readonly<Record<string, unknown>> }
  | { type: "state"; channel: string; state: unknown }
  | { type: "counters"; nextIndex: number; nextNumber: number };

/** Where the message's own JSON begins; quotes inside strings are escaped, so this occurs once before it. */
const messageMark = ',"message":';

export function encodeLine(line: JournalLine): string {
  if (line.type !== "message") return `${JSON.stringify(line)}\n`;
  const { index, channel, account, to, key, json } = line.message;
  const { firstNumber, promise } = line;
  const start = JSON.stringify({ type: "message", index, channel, account, to, key, firstNumber, promise });
  return `${start.slice(0, -1)}${messageMark}${json}}\n`;
}

/** Reads what `encodeLine` wrote, without its newline. Throws when it is something else. */
export function decodeLine(text: string): JournalLine {
  if (!text.startsWith('{"type":"message"')) {
    const line = JSON.parse(text) as JournalLine;
    if (typeof line.type !== "string") throw new Error("a line without a type");
    return line;
  }
  const mark = text.indexOf(messageMark);
  if (mark < 0 || !text.endsWith("}}")) throw new Error("a message line that breaks off");
  const { index, channel, account, to, key, firstNumber, promise } = JSON.parse(`${text.slice(0, mark)}}`);
  const json = text.slice(mark + messageMark.length, -1);
  return { type: "message", message: { index, channel, account, to, key, json }, firstNumber, promise };
}

const chunkBytes = 1 << 20;
const privateMode = 0o600;
const privateFolderMode = 0o700;

/** A file of text lines that is only ever appended to, or replaced as a whole. Survives `kill -9`, not a power cut. */
export class LineFile {
  readonly #path: string;
  #fd: number;
  #sizeBytes: number;

  constructor(filePath: string) {
    this.#path = filePath;
    fs.mkdirSync(path.dirname(path.resolve(filePath)), { recursive: true, mode: privateFolderMode });
    this.#fd = fs.openSync(filePath, "a+", privateMode);
    this.#sizeBytes = fs.fstatSync(this.#fd).size;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** Writes before it returns: afterwards the operating system has it. */
  append(text: string): void {
    this.#sizeBytes += writeAll(this.#fd, Buffer.from(text));
  }

  /** Every whole line, without its newline. A last line without one was cut off by a kill and is left out. */
  *lines(): Generator<string> {
    const chunk = Buffer.allocUnsafe(chunkBytes);
    let rest: Buffer = Buffer.alloc(0);
    let position = 0;
    for (;;) {
      const count = fs.readSync(this.#fd, chunk, 0, chunkBytes, position);
      if (count === 0) return;
      position += count;
      const block = Buffer.concat([rest, chunk.subarray(0, count)]);
      let start = 0;
      for (let end = block.indexOf(10); end >= 0; end = block.indexOf(10, start)) {
        if (end > start) yield block.toString("utf8", start, end);
        start = end + 1;
      }
      rest = block.subarray(start);
    }
  }

  /** Puts these lines (each with its newline) in place of everything, by a new file renamed over the old one. */
  replace(lines: Iterable<string>): void {
    const next = `${this.#path}.new`;
    const fd = fs.openSync(next, "w", privateMode);
    let buffered: string[] = [];
    let bufferedLength = 0;
    for (const line of lines) {
      buffered.push(line);
      bufferedLength += line.length;
      if (bufferedLength < chunkBytes) continue;
      writeAll(fd, Buffer.from(buffered.join("")));
      buffered = [];
      bufferedLength = 0;
    }
    writeAll(fd, Buffer.from(buffered.join("")));
    fs.closeSync(fd);
    fs.renameSync(next, this.#path);
    fs.closeSync(this.#fd);
    this.#fd = fs.openSync(this.#path, "a+", privateMode);
    this.#sizeBytes = fs.fstatSync(this.#fd).size;
  }

  close(): void {
    fs.closeSync(this.#fd);
  }
}

function writeAll(fd: number, bytes: Buffer): number {
  for (let written = 0; written < bytes.length; ) written += fs.writeSync(fd, bytes, written);
  return bytes.length;
}
