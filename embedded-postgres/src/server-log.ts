import { closeSync, copyFileSync, openSync, readSync, statSync, truncateSync } from "node:fs";
import { explainFileError } from "./data-dir.ts";

/** The log of PostgreSQL. The file and its predecessor (`.1`) have about `maxBytes` each. */
export type ServerLog = ReturnType<typeof serverLog>;

const maxBytes = 8 * 1024 * 1024;
const tailBytes = 16 * 1024;

export function serverLog(path: string) {
  return {
    path,

    open(): number {
      try {
        return openSync(path, "a", 0o600);
      } catch (error) {
        throw explainFileError(error, path);
      }
    },

    sizeBytes(): number {
      return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
    },

    /** The server continues at the new beginning, since it appends. On a full disk the old lines are dropped. */
    rotate(): void {
      if (this.sizeBytes() <= maxBytes) return;
      attempt(() => copyFileSync(path, `${path}.1`));
      attempt(() => truncateSync(path));
    },

    /** At most the last `tailBytes`. */
    since(offset: number): string {
      const sizeBytes = this.sizeBytes();
      const from = Math.max(offset, sizeBytes - tailBytes);
      if (from >= sizeBytes) return "";
      const tail = Buffer.alloc(sizeBytes - from);
      const file = openSync(path, "r");
      try {
        return tail.toString("utf8", 0, readSync(file, tail, 0, tail.length, from));
      } finally {
        closeSync(file);
      }
    },
  };
}

/** A failure of the log must not stop this process. */
function attempt(work: () => void): void {
  try {
    work();
  } catch {}
}

/** Whether the output says that the disk is full. Source: the messages of PostgreSQL 18. */
export function saysDiskFull(output: string): boolean {
  return /No space left on device|Disk quota exceeded|wrote only \d+ of \d+ bytes/.test(output);
}

export function reasonOf(output: string): string {
  const reason = /\b(?:FATAL|PANIC|error):\s+(.*)$/m.exec(output)?.[1] ?? output.trim().split("\n").at(-1);
  return reason?.trim() || "it ended without a word";
}
