import type { StoredMessage } from "../messages.ts";
import { Problem } from "../problem.ts";
import type { WebhookEvent } from "../webhooks/event.ts";
import { LineFile } from "./file.ts";
import { decodeLine, encodeLine, type JournalLine } from "./lines.ts";

/** Below this size the file is never compacted while the simulator runs. */
const SMALLEST_COMPACTION_BYTES = 32 << 20;

/** Lines that say everything which must survive, fewest first. */
export type Snapshot = () => Iterable<JournalLine>;

/** What the platforms must not forget, on disk before anyone is told. Without a file it remembers nothing. */
export class Journal {
  readonly #path: string | undefined;
  #file: LineFile | undefined;
  #snapshot: Snapshot | undefined;
  #compactAtBytes = Number.POSITIVE_INFINITY;

  /** Opens or creates the file. */
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

  account(fields: Readonly<Record<string, unknown>>): void {
    this.#append({ type: "account", fields });
  }

  /** Replaces the file's content by the snapshot. */
  compact(): void {
    if (!this.#file || !this.#snapshot) return;
    this.#file.replace(encodeAll(this.#snapshot()));
    this.#compactAtBytes = Math.max(SMALLEST_COMPACTION_BYTES, this.#file.sizeBytes * 2);
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
