import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { programPath } from "./programs.ts";
import { watchdogName } from "./watchdog.ts";

interface Options {
  /** How long a test file may take, in milliseconds. */
  limitMs: number;
  say(line: string): void;
  /** Default: this process, the test runner. */
  runnerPid?: number;
}

export interface FileLimits {
  /** Kills processes that test files left running. Returns how many files were stopped or left processes behind. */
  end(): Promise<number>;
}

interface Process {
  pid: number;
  parent: number;
  ageMs: number;
  command: string;
}

interface FileRun {
  file: string;
  /** Every process seen below it, by pid and start, because a pid may be used again. */
  started: Map<number, { startedAtMs: number; command: string }>;
  isStopped: boolean;
}

const lookEveryMs = 2_000;
/** `ps` prints ages in whole seconds. */
const ageErrorMs = 2_500;
/** How long processes may take to end after the file that started them. */
const graceMs = 30_000;
/** Longest command line in a message, in characters. */
const shownLength = 200;

/**
 * Watches the processes below the test runner, so that a run always ends. A test file that runs for too long is killed
 * together with every process that it started. Processes that a file leaves running are killed too. Does nothing
 * without `ps`, as on Windows.
 */
export function limitTestFiles({ limitMs, say, runnerPid = process.pid }: Options): FileLimits {
  const runs = new Map<number, FileRun>();
  const ended: { run: FileRun; atMs: number }[] = [];
  let faults = 0;

  async function inspect(): Promise<void> {
    const all = await listProcesses();
    const nowMs = performance.now();
    const living = new Map(all.map((process) => [process.pid, process]));
    for (const process of all) {
      const file = process.parent === runnerPid && /\S+\.test\.[cm]?[jt]s/.exec(process.command)?.[0];
      if (!file) continue;
      const run = runs.get(process.pid) ?? { file, started: new Map(), isStopped: false };
      runs.set(process.pid, run);
      for (const { pid, ageMs, command } of below(process.pid, all)) {
        run.started.set(pid, { startedAtMs: nowMs - ageMs, command });
      }
      if (process.ageMs > limitMs && !run.isStopped) {
        run.isStopped = true;
        faults += 1;
        const count = killAll([process, ...stillThere(run, living, nowMs)]);
        say(`${file} ran for more than ${limitMs / 1000} s: killed with ${count - 1} processes that it had started.`);
      }
    }
    for (const [pid, run] of runs) {
      if (living.has(pid)) continue;
      runs.delete(pid);
      ended.push({ run, atMs: nowMs });
    }
    sweep(living, nowMs, graceMs);
  }

  function sweep(living: Map<number, Process>, nowMs: number, afterMs: number): void {
    for (const entry of ended.splice(0)) {
      if (nowMs - entry.atMs < afterMs) {
        ended.push(entry);
        continue;
      }
      const left = stillThere(entry.run, living, nowMs);
      if (left.length === 0) continue;
      killAll(left);
      if (!entry.run.isStopped) faults += 1;
      say(
        `${entry.run.file} left processes running, which were killed: ${left.map(({ command }) => command.slice(0, shownLength)).join("; ")}`,
      );
    }
  }

  let looking = Promise.resolve();
  const timer = setInterval(() => {
    looking = looking.then(inspect).catch((error) => say(`The test files could not be watched: ${error.message}`));
  }, lookEveryMs);
  timer.unref();
  return {
    async end() {
      clearInterval(timer);
      await looking;
      for (const deadline = performance.now() + graceMs; ; await new Promise((wake) => setTimeout(wake, 200))) {
        await inspect();
        const living = new Map((await listProcesses()).map((process) => [process.pid, process]));
        const isOver = performance.now() > deadline;
        if (isOver) sweep(living, performance.now(), 0);
        if (isOver || !ended.some(({ run }) => stillThere(run, living, performance.now()).length > 0)) return faults;
      }
    },
  };
}

function stillThere(run: FileRun, living: Map<number, Process>, nowMs: number): Process[] {
  return [...run.started].flatMap(([pid, { startedAtMs }]) => {
    const process = living.get(pid);
    const isSame = process !== undefined && Math.abs(nowMs - process.ageMs - startedAtMs) < ageErrorMs;
    return isSame ? [process] : [];
  });
}

/** All descendants except watchdogs, which end by themselves and tidy up. */
function below(root: number, all: readonly Process[]): Process[] {
  const children = all.filter(({ parent, command }) => parent === root && !command.includes(watchdogName));
  return children.flatMap((child) => [child, ...below(child.pid, all)]);
}

function killAll(processes: readonly Process[]): number {
  for (const { pid } of processes) {
    try {
      process.kill(pid, "SIGKILL");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
    }
  }
  return processes.length;
}

const run = promisify(execFile);

async function listProcesses(): Promise<Process[]> {
  if (programPath("ps") === null) return [];
  const { stdout } = await run("ps", ["-A", "-o", "pid=,ppid=,stat=,etime=,args="], { maxBuffer: 64 * 1024 * 1024 });
  return stdout.split("\n").flatMap((line) => {
    const [, pid, parent, state, age, command] = /^\s*(\d+)\s+(\d+)\s+(\S+)\s+(\S+)\s+(.*)$/.exec(line) ?? [];
    if (pid === undefined || state!.startsWith("Z")) return [];
    return [{ pid: Number(pid), parent: Number(parent), ageMs: ageOf(age!, performance.now()), command: command! }];
  });
}

/**
 * The age of a process below this one, which has run for `ownAgeMs`, in milliseconds. `ps` writes
 * `[[days-]hours:]minutes:seconds`; of a process that started a moment ago it may print a million years.
 */
export function ageOf(etime: string, ownAgeMs: number): number {
  const [clock, days = "0"] = etime.split("-").reverse() as [string, string?];
  const seconds = clock.split(":").reduce((sum, part) => sum * 60 + Number(part), 0);
  const ageMs = (Number(days) * 86_400 + seconds) * 1_000;
  return ageMs > ownAgeMs + ageErrorMs ? 0 : ageMs;
}
