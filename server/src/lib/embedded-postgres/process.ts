import { readFileSync } from "node:fs";

/** Whether the process exists, of any user. One that ended counts until its parent has noticed. */
export function exists(pid: number): boolean {
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
  try {
    return /\) [ZX] [^)]*$/.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
}
