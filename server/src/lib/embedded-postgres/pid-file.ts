import { execFileSync } from "node:child_process";
import { readFileSync, readlinkSync, rmSync } from "node:fs";
import { basename, join } from "node:path";
import type { Endpoint } from "./endpoint.ts";
import { exists, isAlive } from "./process.ts";

export type PidFile = { pid: number; endpoint: Endpoint; status: string };

/** The file survives a kill. `status`: `starting`, `ready`, `stopping` or empty. Source: PostgreSQL 18, pidfile.h. */
export function readPidFile(directory: string): PidFile | null {
  const lines = readLines(join(directory, "postmaster.pid"));
  const [pid, , , port, socketFolder, host, , status] = lines.map((line) => line.trim());
  if (!Number(pid)) return null;
  const endpoint: Endpoint = socketFolder
    ? { kind: "socket", folder: socketFolder, port: Number(port) }
    : { kind: "tcp", host: host || "127.0.0.1", port: Number(port) };
  return { pid: Number(pid), endpoint, status: status ?? "" };
}

/** Whether it is the server of this directory, and not another process with a reused number. */
export function isServerOf(pid: number, directory: string): boolean {
  if (!isAlive(pid)) return false;
  const command = commandOf(pid);
  if (!command) return true;
  const [program = "", ...args] = command;
  return /^postgres(\.exe)?$/.test(basename(program)) && (args.includes(directory) || folderOf(pid) === directory);
}

/** PostgreSQL refuses to start when any process has the number in its pid file, as after a container's restart. */
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

function commandOf(pid: number): string[] | undefined {
  try {
    if (process.platform === "linux") return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").slice(0, -1);
    if (process.platform === "win32") return undefined;
    const command = execFileSync("ps", ["-o", "command=", "-p", String(pid)], { encoding: "utf8" }).trim();
    // `-D <directory> -c …`, as in `serverArguments`: the directory may have spaces.
    const [, program, directory] = /^(.*?) -D (.*?) -c /.exec(command) ?? [undefined, command, ""];
    return [program!, directory!];
  } catch {
    return undefined;
  }
}

function folderOf(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/cwd`);
  } catch {
    return undefined;
  }
}
