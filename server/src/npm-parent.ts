import { readFileSync } from "node:fs";

const lookEveryMs = 500;
const mostAncestors = 5;

/**
 * Calls back once when the npm that runs this process as its script has ended. npm forwards signals only to its shell,
 * which may end without forwarding them, and a killed npm forwards nothing. Without `/proc`, only the parent process is
 * watched. Keeps no process alive.
 */
export function onNpmGone(gone: () => void): void {
  const ancestors = findNpm();
  const timer = setInterval(() => {
    if (ancestors.every(({ pid, parent }) => parentOf(pid) === parent)) return;
    clearInterval(timer);
    gone();
  }, lookEveryMs).unref();
}

/** Every process from this one up to the child of npm, with its parent. While npm runs, none of them changes. */
function findNpm(): { pid: number; parent: number | null }[] {
  const chain: { pid: number; parent: number | null }[] = [];
  for (let pid: number | null = process.pid; pid !== null && chain.length < mostAncestors; ) {
    const parent = parentOf(pid);
    chain.push({ pid, parent });
    if (parent !== null && isNpm(parent)) return chain;
    pid = parent;
  }
  return chain.slice(0, 1);
}

function parentOf(pid: number): number | null {
  if (pid === process.pid) return process.ppid;
  // The name before the state is in brackets and may contain any character. Source: proc_pid_stat(5).
  const parent = /.*\) \S (\d+)/s.exec(read(`/proc/${pid}/stat`))?.[1];
  return parent === undefined ? null : Number(parent);
}

function isNpm(pid: number): boolean {
  return /^npm\b|\bnpm(-cli\.js)?\0/.test(read(`/proc/${pid}/cmdline`));
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
