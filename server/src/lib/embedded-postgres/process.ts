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

/** Sends a signal when this process ends, except by SIGKILL, until the returned function is called. */
export function signalAtExit(pid: () => number | null, name: NodeJS.Signals): () => void {
  const end = () => {
    const found = pid();
    if (found !== null) signal(found, name);
  };
  process.on("exit", end);
  return () => void process.off("exit", end);
}

/** The name before the state is in brackets and may hold anything. Source: proc_pid_stat(5). */
function isZombie(pid: number): boolean {
  try {
    return /\) [ZX] [^)]*$/.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
}
