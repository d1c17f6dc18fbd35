import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { basename } from "node:path";
import { isServerOf } from "./pid-file.ts";
import { signal } from "./process.ts";

/** A computing process does not notice that its server was killed, and holds the memory that the next one needs. */
export function killServerOrphans(directory: string): void {
  // All processes of a server work in its directory; all but the first are named `postgres: …`.
  killWhere(
    (pid, [program = ""]) =>
      program.startsWith("postgres: ") && folderOf(pid) === directory && !isServerOf(parentOf(pid), directory),
  );
}

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
      // It has ended, or belongs to another user.
    }
  }
}

function folderOf(pid: number): string {
  return readlinkSync(`/proc/${pid}/cwd`);
}

function parentOf(pid: number): number {
  return Number(/^PPid:\s*(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
}
