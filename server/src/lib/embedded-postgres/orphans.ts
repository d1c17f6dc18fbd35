import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { basename } from "node:path";
import { isServerOf } from "./pid-file.ts";
import { signal } from "./process.ts";

/**
 * Kills what is left of a server that was killed itself: a process that computes does not notice, and as long as it
 * holds the server's memory no other can start. Recovery then treats its work as that of any crash.
 * Only where `/proc` tells which processes those are; elsewhere they end when their statement does.
 */
export function killServerOrphans(directory: string): void {
  // All processes of a server work in its directory; those after the first name themselves `postgres: …`.
  killWhere(
    (pid, [program = ""]) =>
      program.startsWith("postgres: ") && folderOf(pid) === directory && !isServerOf(parentOf(pid), directory),
  );
}

/** Kills an initdb whose hub was killed, and its helper, before their folder is removed under them. */
export function killInitdbIn(directory: string): void {
  killWhere(
    (pid, [program = "", ...args]) =>
      /^(initdb|postgres)$/.test(basename(program)) && (args.includes(directory) || folderOf(pid) === directory),
  );
}

function killWhere(isMeant: (pid: number, command: string[]) => boolean): void {
  if (process.platform !== "linux") return;
  for (const pid of readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)) {
    try {
      if (isMeant(pid, readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0"))) signal(pid, "SIGKILL");
    } catch {
      // It ended, or belongs to somebody else.
    }
  }
}

function folderOf(pid: number): string {
  return readlinkSync(`/proc/${pid}/cwd`);
}

function parentOf(pid: number): number {
  return Number(/^PPid:\s*(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
}
