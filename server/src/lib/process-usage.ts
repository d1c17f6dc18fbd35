import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { promisify } from "node:util";

export interface ProcessUsage {
  /** Resident memory. */
  memoryBytes: number;
  /** CPU time of all threads since the start, in milliseconds. */
  cpuMs: number;
}

/** What a process uses: from `/proc` on Linux, from `ps` on other Unix systems. Null on Windows, and when it ended. */
export async function measureProcess(pid: number): Promise<ProcessUsage | null> {
  if (process.platform === "win32") return null;
  try {
    return process.platform === "linux" ? await fromProc(pid) : await fromPs(pid);
  } catch {
    return null;
  }
}

/** The kernel reports CPU times to programs in hundredths of a second, on every architecture. */
const tickMs = 10;
const run = promisify(execFile);

async function fromProc(pid: number): Promise<ProcessUsage> {
  const [status, stat] = await Promise.all([
    readFile(`/proc/${pid}/status`, "utf8"),
    readFile(`/proc/${pid}/stat`, "utf8"),
  ]);
  // The second field, the name in brackets, may contain spaces.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const [userTicks, systemTicks] = [Number(fields[11]), Number(fields[12])];
  return {
    memoryBytes: Number(/^VmRSS:\s*(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024,
    cpuMs: (userTicks + systemTicks) * tickMs,
  };
}

async function fromPs(pid: number): Promise<ProcessUsage> {
  const { stdout } = await run("ps", ["-o", "rss=,time=", "-p", String(pid)]);
  const [rssKib, time] = stdout.trim().split(/\s+/) as [string, string];
  return { memoryBytes: Number(rssKib) * 1024, cpuMs: parseCpuTime(time) };
}

/** `[[days-]hours:]minutes:seconds[.hundredths]`, in milliseconds. */
export function parseCpuTime(time: string): number {
  const [clock, days = "0"] = time.split("-").reverse() as [string, string?];
  const seconds = clock.split(":").reduce((sum, part) => sum * 60 + Number(part), 0);
  return (Number(days) * 86_400 + seconds) * 1_000;
}
