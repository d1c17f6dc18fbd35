import { readFileSync } from "node:fs";

/** Is there such a process, whoever it belongs to? One that ended counts until its parent has noticed. */
export function exists(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** Does it exist and run? In a container nobody may collect those that ended. */
export function isAlive(pid: number): boolean {
  return exists(pid) && !isZombie(pid);
}

/** Sends a signal; a process that is gone has no more need of it. */
export function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

/** The name before the state is in brackets and may hold anything. Source: proc_pid_stat(5). */
function isZombie(pid: number): boolean {
  try {
    return /\) [ZX] [^)]*$/.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
}
