import { execFileSync } from "node:child_process";
import { readFileSync, readlinkSync, rmSync } from "node:fs";
import { basename, join } from "node:path";
import type { Endpoint } from "./endpoint.ts";
import { exists, isAlive } from "./process.ts";

export type PidFile = { pid: number; endpoint: Endpoint; status: string };

/**
 * What the server in this directory says of itself in `postmaster.pid`; the file outlives a server that was killed.
 * `status` is `starting`, `ready` or `stopping`, empty in the first moments. Source: PostgreSQL 18, utils/pidfile.h.
 */
export function readPidFile(directory: string): PidFile | null {
  const lines = readLines(join(directory, "postmaster.pid"));
  const [pid, , , port, socketFolder, host, , status] = lines.map((line) => line.trim());
  if (!Number(pid)) return null;
  const endpoint: Endpoint = socketFolder
    ? { kind: "socket", folder: socketFolder, port: Number(port) }
    : { kind: "tcp", host: host || "127.0.0.1", port: Number(port) };
  return { pid: Number(pid), endpoint, status: status ?? "" };
}

/** Is this process alive and the server of this directory, rather than one that got the number of a dead server? */
export function isServerOf(pid: number, directory: string): boolean {
  if (!isAlive(pid)) return false;
  const command = commandOf(pid);
  if (!command) return true;
  const [program = "", ...args] = command;
  return /^postgres(\.exe)?$/.test(basename(program)) && (args.includes(directory) || folderOf(pid) === directory);
}

/**
 * PostgreSQL itself looks only whether the process of its pid file is alive, and refuses to start when the number now
 * belongs to something else, as it often does in a container after a restart. Without the file, a server that really
 * runs is still found out by its shared memory.
 */
export function removeMisleadingPidFile(directory: string): void {
  const file = readPidFile(directory);
  if (!file || !exists(file.pid) || isServerOf(file.pid, directory)) return;
  rmSync(join(directory, "postmaster.pid"), { force: true });
  rmSync(join(directory, `.s.PGSQL.${file.endpoint.port}.lock`), { force: true });
}

function readLines(path: string): string[] {
  try {
    return readFileSync(path, "utf8").split("\n");
  } catch {
    return [];
  }
}

/** The command line; `undefined` where the system does not tell. */
function commandOf(pid: number): string[] | undefined {
  try {
    if (process.platform === "linux") return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").slice(0, -1);
    if (process.platform === "win32") return undefined;
    const command = execFileSync("ps", ["-o", "command=", "-p", String(pid)], { encoding: "utf8" }).trim();
    // `-D <directory> -c …`: as written by `serverArguments`, the directory may hold spaces.
    const [, program, directory] = /^(.*?) -D (.*?) -c /.exec(command) ?? [undefined, command, ""];
    return [program!, directory!];
  } catch {
    return undefined;
  }
}

/** A server works in its data directory. */
function folderOf(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/cwd`);
  } catch {
    return undefined;
  }
}
