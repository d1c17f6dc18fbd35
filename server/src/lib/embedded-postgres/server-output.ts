/** Does what PostgreSQL or initdb wrote say that the disk is full? Source: the messages of PostgreSQL 18. */
export function saysDiskFull(output: string): boolean {
  return /No space left on device|Disk quota exceeded|wrote only \d+ of \d+ bytes/.test(output);
}

/** The first reason that it gave for ending, without the time and number in front of it. */
export function reasonOf(output: string): string {
  const reason = /\b(?:FATAL|PANIC|error):\s+(.*)$/m.exec(output)?.[1] ?? output.trim().split("\n").at(-1);
  return reason?.trim() || "it ended without a word";
}
