import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, readlinkSync, rmSync } from "node:fs";
import { basename, join } from "node:path";
import type { Endpoint } from "./endpoint.ts";

/** Whether the process exists, of any user. One that ended counts until its parent has noticed. */
function exists(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** Whether it runs. In a container, ended processes may stay. */
export function isAlive(pid: number): boolean {
  return exists(pid) && !isZombie(pid);
}

export function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

/** Sends a signal when this process ends (except by SIGKILL), until the returned function is called. */
export function signalAtExit(pid: () => number | null, name: NodeJS.Signals): () => void {
  const end = () => {
    const found = pid();
    if (found !== null) signal(found, name);
  };
  process.on("exit", end);
  return () => void process.off("exit", end);
}

/** The name before the state is in brackets and may have any character. Source: proc_pid_stat(5). */
function isZombie(pid: number): boolean {
  return /\) [ZX] [^)]*$/.test(readOrEmpty(`/proc/${pid}/stat`));
}

export function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

/** The file survives a kill. `status`: `starting`, `ready`, `stopping` or empty. Source: PostgreSQL 18, pidfile.h. */
export function readPidFile(directory: string): { pid: number; endpoint: Endpoint; status: string } | null {
  const lines = readOrEmpty(join(directory, "postmaster.pid")).split("\n");
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
  for (const pid of readdirSync("/proc").map(Number).filter(Number.isInteger)) {
    try {
      if (isMeant(pid, readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0"))) signal(pid, "SIGKILL");
    } catch {
      // It has ended, or belongs to another user.
    }
  }
}

function parentOf(pid: number): number {
  return Number(/^PPid:\s*(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
}
