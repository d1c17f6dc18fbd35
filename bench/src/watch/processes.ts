import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";

interface ProcessFigures {
  pid: number;
  parent: number;
  /** Since its start, with threads that ended. */
  cpuUs: number;
  /** Of the threads that live, where that is finer than `cpuUs`: for differences, because threads hardly ever end. */
  threadsUs: number;
  /** Of children that ended and were waited for, in microseconds. */
  endedChildrenUs: number;
}

/** Every process of this machine. */
export function readProcesses(): ProcessFigures[] {
  return process.platform === "linux" ? readProc() : readPs();
}

export function cpuOf(pid: number): number {
  return readProcesses().find((one) => one.pid === pid)?.cpuUs ?? 0;
}

/** Linux counts in ticks of a hundredth of a second on any machine. Source: proc_pid_stat(5), USER_HZ. */
const tickUs = 10_000;

/** Where CPU times come from: the scheduler counts each thread in nanoseconds, and the other sources in steps. */
export function cpuSource(): string {
  if (process.platform !== "linux") return "ps, in steps of 1 s";
  return scheduledUs(process.pid) > 0 ? "/proc/<pid>/task/*/schedstat, in ns" : "/proc/<pid>/stat, in steps of 10 ms";
}

/** Of the threads that live; 0 where the kernel does not count them. Source: Linux, scheduler/sched-stats. */
function scheduledUs(pid: number): number {
  const folder = `/proc/${pid}/task`;
  return readdirSync(folder).reduce((sum, thread) => {
    try {
      return sum + Number.parseInt(readFileSync(`${folder}/${thread}/schedstat`, "utf8"), 10) / 1_000;
    } catch {
      return sum; // It ended meanwhile.
    }
  }, 0);
}

function readProc(): ProcessFigures[] {
  return readdirSync("/proc").flatMap((name) => {
    if (!/^\d+$/.test(name)) return [];
    try {
      const stat = readFileSync(`/proc/${name}/stat`, "utf8");
      // The command may hold anything, so what counts begins behind its closing bracket, with field 3.
      const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      const field = (number: number) => Number(fields[number - 3]);
      const cpuUs = (field(14) + field(15)) * tickUs;
      return {
        pid: Number(name),
        parent: field(4),
        cpuUs,
        threadsUs: scheduledUs(Number(name)) || cpuUs,
        endedChildrenUs: (field(16) + field(17)) * tickUs,
      };
    } catch {
      return []; // It ended meanwhile.
    }
  });
}

function readPs(): ProcessFigures[] {
  const lines = execFileSync("ps", ["-A", "-o", "pid=,ppid=,time="], { encoding: "utf8" }).trim().split("\n");
  return lines.map((line) => {
    const [pid, parent, time] = line.trim().split(/\s+/);
    const seconds = time!.split(/[-:]/).reduce((sum, part) => sum * 60 + Number(part), 0);
    return {
      pid: Number(pid),
      parent: Number(parent),
      cpuUs: seconds * 1e6,
      threadsUs: seconds * 1e6,
      endedChildrenUs: 0,
    };
  });
}

/** From now on, the highest that it was. Needs Linux. Source: proc_pid_clear_refs(5). */
export function watchPeak(pid: number): () => number {
  writeFileSync(`/proc/${pid}/clear_refs`, "5");
  return () => Number(statusOf(pid, "VmHWM")) * 1024;
}

function statusOf(pid: number, name: "VmRSS" | "VmHWM"): string {
  return new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1]!;
}

export function readResidentBytes(pid: number): number {
  const kib =
    process.platform === "linux"
      ? statusOf(pid, "VmRSS")
      : execFileSync("ps", ["-o", "rss=", "-p", String(pid)], { encoding: "utf8" }).trim();
  return Number(kib) * 1024;
}
