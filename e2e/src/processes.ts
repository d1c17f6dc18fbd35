import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { sep } from "node:path";
import { until } from "../../server/src/testing/until.ts";

/** For tests that kill processes and list those that are left: why they cannot run here, or false. */
export const withoutProc = process.platform !== "linux" && "finding processes needs Linux' /proc";

/**
 * Processes whose working directory is in a folder: a hub started there, its simulator, and PostgreSQL with backends.
 */
export function processesIn(folder: string): number[] {
  return readdirSync("/proc")
    .map(Number)
    .filter((pid) => {
      const cwd = pid > 0 ? workingDirectory(pid) : null;
      if (cwd === null) return false;
      // initdb runs in another folder; its argument names this one.
      return cwd === folder || cwd.startsWith(folder + sep) || isMaking(pid, folder);
    });
}

function isMaking(pid: number, folder: string): boolean {
  const [program = "", ...args] = commandOf(pid).split("\0");
  return program.endsWith("/initdb") && args.some((arg) => arg.startsWith(folder + sep));
}

/** Its program and arguments, each with a NUL behind it; empty when it has ended. */
export function commandOf(pid: number): string {
  return readOrEmpty(`/proc/${pid}/cmdline`);
}

/** Null for one that has ended, as a zombie too, or that is not ours. */
function workingDirectory(pid: number): string | null {
  try {
    return readlinkSync(`/proc/${pid}/cwd`);
  } catch {
    return null;
  }
}

/** The postmaster of a data directory and all that it started; empty when none runs. */
export function postgresIn(dataDir: string): number[] {
  const postmaster = Number(readOrEmpty(`${dataDir}/postgres/postmaster.pid`).split("\n")[0]);
  if (!postmaster) return [];
  return processesIn(`${dataDir}/postgres`).toSorted((a, b) => Number(b === postmaster) - Number(a === postmaster));
}

/** SIGKILL to each; those that are gone already are passed over. */
export function killAll(pids: readonly number[]): void {
  for (const pid of pids) {
    try {
      process.kill(pid, "SIGKILL");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
    }
  }
}

export function noneLeftIn(folder: string, withinMs?: number): Promise<true> {
  return until(`no process is left in ${folder}`, () => processesIn(folder).length === 0, withinMs);
}

function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
