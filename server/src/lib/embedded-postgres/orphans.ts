import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { isServerOf } from "./pid-file.ts";
import { signal } from "./process.ts";

/**
 * Kills what is left of a server that was killed itself: a process that computes does not notice, and as long as it
 * holds the server's memory no other can start. Recovery then treats its work as that of any crash.
 * Only where `/proc` tells which processes those are; elsewhere they end when their statement does.
 */
export function killOrphans(directory: string): void {
  if (process.platform !== "linux") return;
  for (const pid of readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)) {
    if (isOrphan(pid, directory)) signal(pid, "SIGKILL");
  }
}

/** All processes of a server work in its directory; those after the first name themselves `postgres: …`. */
function isOrphan(pid: number, directory: string): boolean {
  try {
    if (readlinkSync(`/proc/${pid}/cwd`) !== directory) return false;
    if (!readFileSync(`/proc/${pid}/cmdline`, "utf8").startsWith("postgres: ")) return false;
    const parent = Number(/^PPid:\s*(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
    return !isServerOf(parent, directory);
  } catch {
    // It ended, or belongs to somebody else.
    return false;
  }
}
