import { readlinkSync } from "node:fs";
import { setPriority } from "node:os";

/**
 * Gives the calling thread a lower priority: 0 is normal, 19 the lowest. Linux has a priority for each thread, by its
 * id. Elsewhere the priority stays as it is.
 */
export function lowerThreadPriority(niceness: number): void {
  try {
    const threadId = Number(readlinkSync("/proc/thread-self").split("/").at(-1));
    setPriority(threadId, niceness);
  } catch {
    // Not supported, or not allowed.
  }
}
