/** Whether the output says that the disk is full. Source: the messages of PostgreSQL 18. */
export function saysDiskFull(output: string): boolean {
  return /No space left on device|Disk quota exceeded|wrote only \d+ of \d+ bytes/.test(output);
}

export function reasonOf(output: string): string {
  const reason = /\b(?:FATAL|PANIC|error):\s+(.*)$/m.exec(output)?.[1] ?? output.trim().split("\n").at(-1);
  return reason?.trim() || "it ended without a word";
}
