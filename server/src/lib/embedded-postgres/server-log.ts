import { closeSync, copyFileSync, fstatSync, openSync, readSync, statSync, truncateSync } from "node:fs";
import { explainFileError } from "../data-dir.ts";

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

    since(offset: number): string {
      const file = openSync(path, "r");
      try {
        const { size } = fstatSync(file);
        const start = Math.max(Math.min(offset, size), size - tailBytes);
        const buffer = Buffer.alloc(size - start);
        return buffer.toString("utf8", 0, readSync(file, buffer, 0, buffer.length, start));
      } finally {
        closeSync(file);
      }
    },
  };
}

/** A failure of the log must not stop the hub. */
function attempt(work: () => void): void {
  try {
    work();
  } catch {}
}
