import { writeSync } from "node:fs";

/** The open file that the process was started for. */
export const inputFd = 5;

export interface Output {
  /** To `onMessage` of the parent, as JSON. Also a sign of life. */
  report(message: unknown): void;
  /** Appends to the text of the result. */
  write(text: string): void;
}

/**
 * The body of an entry file that `runLimitedProcess` starts: ends the process when `work` is done, and when the parent
 * is gone.
 */
export async function runLimited(work: (output: Output) => Promise<void>): Promise<never> {
  process.stdin.on("end", () => process.exit(1)).on("error", () => process.exit(1));
  process.stdin.resume();
  // Pipes are blocking here: what is written is with the parent when the process ends.
  await work({
    report: (message) => writeFully(messagesFd, `${JSON.stringify(message)}\n`),
    write: (text) => writeFully(textFd, text),
  });
  process.exit(0);
}

const messagesFd = 3;
const textFd = 4;

function writeFully(fd: number, text: string): void {
  const bytes = Buffer.from(text);
  for (let written = 0; written < bytes.length; ) written += writeSync(fd, bytes, written);
}
