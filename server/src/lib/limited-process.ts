import { type ChildProcess, spawn } from "node:child_process";
import { constants, setPriority } from "node:os";
import { dirname } from "node:path";
import type { Readable } from "node:stream";
import type { Clock } from "./clock.ts";
import { measureProcess, type ProcessUsage } from "./process-usage.ts";

export interface ProcessLimits {
  /** Resident memory, in bytes. */
  memoryBytes: number;
  /** From start to end, in milliseconds. */
  timeMs: number;
  /** CPU time of all threads, in milliseconds. */
  cpuMs: number;
  /** CPU time between two messages of the process, in milliseconds: more means that it makes no progress. */
  silentCpuMs: number;
  /** Of the text, in bytes of UTF-8. */
  outputBytes: number;
}

export interface LimitedProcess {
  /** The TypeScript file to run. It calls `runLimited` of `limited-process-child.ts`. */
  entry: string;
  args: readonly string[];
  /** The process reads this open file as `inputFd`; it needs no permission for the path. */
  inputFd: number;
  /** All that the process may read besides, as absolute paths: its code. */
  mayRead: readonly string[];
  limits: ProcessLimits;
  clock: Clock;
  signal?: AbortSignal | undefined;
  /** What the process reports, in order. It is not trusted: throw an error when a message is not what you expect. */
  onMessage(message: unknown): void;
}

/** `complaint` is the end of what it wrote to stderr. */
export type ProcessEnd =
  | { end: "completed"; text: string }
  /** A limit that it exceeded; `silent` is `silentCpuMs`. */
  | { end: "memory" | "time" | "silent" | "output" }
  /** Its native code failed, or the system ended it. */
  | { end: "crashed"; signal: string; complaint: string }
  /** It could not start, threw an error, or sent what is no message. */
  | { end: "failed"; complaint: string };

/**
 * Runs untrusted work in a process of Node.js that can only read its code and one open file. It has no network, no
 * environment variables and the lowest priority, cannot start processes and threads or load native code, and is killed
 * at the first limit that it exceeds. It
 * ends with this process, or at the latest when it has used `cpuMs`. Rejects with the reason of `signal`.
 *
 * Memory and CPU are measured every 50 ms (`measureProcess` says where); on Linux the kernel also refuses memory beyond
 * `memoryBytes` and what Node.js itself reserves.
 */
export async function runLimitedProcess(options: LimitedProcess): Promise<ProcessEnd> {
  const { limits, clock, signal } = options;
  signal?.throwIfAborted();
  const child = start(options);
  const closed = new Promise<{ code: number | null; error?: Error }>((resolve) => {
    child.once("error", (error) => resolve({ code: null, error }));
    child.once("close", (code) => resolve({ code }));
  });
  let killedFor: ProcessEnd | "cancelled" | undefined;
  const kill = (reason: ProcessEnd | "cancelled") => {
    killedFor ??= reason;
    child.kill("SIGKILL");
  };
  const cancel = () => kill("cancelled");
  signal?.addEventListener("abort", cancel, { once: true });
  const stopTimer = clock.after(limits.timeMs, () => kill({ end: "time" }));

  let cpuMs = 0;
  let cpuMsAtMessage = 0;
  const [, , stderr, messages, output] = child.stdio as unknown as (Readable | null)[];
  for (const stream of child.stdio) stream?.on("error", () => {});
  readLines(messages!, (line) => {
    cpuMsAtMessage = cpuMs;
    try {
      if (line === null) throw new Error("It sent a message that is too long.");
      options.onMessage(JSON.parse(line));
    } catch (error) {
      kill({ end: "failed", complaint: String(error) });
    }
  });
  const text = readText(output!, limits.outputBytes, () => kill({ end: "output" }));
  const complaint = readEnd(stderr!);
  const watch = watchUsage(child, clock, (usage) => {
    cpuMs = usage.cpuMs;
    if (usage.memoryBytes > limits.memoryBytes) kill({ end: "memory" });
    else if (cpuMs > limits.cpuMs) kill({ end: "time" });
    else if (cpuMs - cpuMsAtMessage > limits.silentCpuMs) kill({ end: "silent" });
  });

  try {
    const { code, error } = await closed;
    if (killedFor === "cancelled") throw signal!.reason;
    if (killedFor !== undefined) return killedFor;
    if (child.signalCode === "SIGXCPU") return { end: "time" };
    if (error !== undefined) return { end: "failed", complaint: error.message };
    if (code === 0) return { end: "completed", text: text() };
    const signalCode = child.signalCode;
    // The kernel kills a process when the machine has no memory left.
    if (outOfMemory.test(complaint()) || signalCode === "SIGKILL") return { end: "memory" };
    if (signalCode !== null) return { end: "crashed", signal: signalCode, complaint: complaint() };
    return { end: "failed", complaint: complaint() };
  } finally {
    watch.stop();
    stopTimer();
    signal?.removeEventListener("abort", cancel);
  }
}

/** What Node.js itself reserves of the kernel's limit for data, mostly stacks of threads, and measured: about 450 MiB. */
const reservedBytes = 640 * 1024 * 1024;
/** The kernel's limit of CPU time serves when this process is gone; it is wider than the one that is measured. */
const spareCpuSeconds = 2;
const watchEveryMs = 50;
/** Of one message. */
const maxLineBytes = 4 * 1024 * 1024;
const maxComplaintLength = 2_000;
/** Twice the default: 8 % less CPU for the text of a PDF. */
const semiSpaceMib = 32;
const lowestPriority = 19;
const outOfMemory = /out of memory|failed to allocate|allocation failed|bad_alloc/i;

function start({ entry, args, inputFd, mayRead, limits }: LimitedProcess): ChildProcess {
  const flags = [
    "--permission",
    ...mayRead.map((path) => `--allow-fs-read=${path}`),
    `--max-old-space-size=${Math.floor(limits.memoryBytes / 2 / 1024 / 1024)}`,
    `--max-semi-space-size=${semiSpaceMib}`,
    "--no-warnings",
  ];
  const command = [process.execPath, ...flags, entry, ...args];
  const options = {
    cwd: dirname(entry),
    env: {},
    // A process group of its own: a Ctrl-C for this process must not reach it.
    detached: true,
    // The end of stdin is the end of this process.
    stdio: ["pipe" as const, "ignore" as const, "pipe" as const, "pipe" as const, "pipe" as const, inputFd],
  };
  if (process.platform === "win32") {
    const child = spawn(command[0]!, command.slice(1), options);
    if (child.pid !== undefined) setPriority(child.pid, constants.priority.PRIORITY_LOW);
    return child;
  }
  const cpuSeconds = Math.ceil(limits.cpuMs / 1_000) + spareCpuSeconds;
  const dataKib = Math.ceil((limits.memoryBytes + reservedBytes) / 1024);
  const script = `ulimit -c 0; ulimit -S -t ${cpuSeconds}; ulimit -d ${dataKib}; exec nice -n ${lowestPriority} "$0" "$@"`;
  return spawn("/bin/sh", ["-c", script, ...command], options);
}

/** Calls back with each line, or with null, once, when a line is too long. */
function readLines(stream: Readable, onLine: (line: string | null) => void): void {
  let rest = "";
  stream.setEncoding("utf8").on("data", (chunk: string) => {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop()!;
    for (const line of lines) onLine(line);
    if (rest.length <= maxLineBytes) return;
    stream.destroy();
    onLine(null);
  });
}

function readText(stream: Readable, maxBytes: number, onExcess: () => void): () => string {
  const decoder = new TextDecoder();
  const parts: string[] = [];
  let bytes = 0;
  stream.on("data", (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > maxBytes) {
      stream.destroy();
      onExcess();
    } else parts.push(decoder.decode(chunk, { stream: true }));
  });
  return () => parts.join("") + decoder.decode();
}

function readEnd(stream: Readable): () => string {
  let end = "";
  stream.setEncoding("utf8").on("data", (chunk: string) => {
    end = (end + chunk).slice(-maxComplaintLength);
  });
  return () => end;
}

/** Measures about every 50 ms, one measurement at a time, until stopped. */
function watchUsage(child: ChildProcess, clock: Clock, onUsage: (usage: ProcessUsage) => void): { stop(): void } {
  let isStopped = false;
  let cancel = () => {};
  const measure = async () => {
    const usage = await measureProcess(child.pid!);
    if (isStopped) return;
    if (usage !== null) onUsage(usage);
    cancel = clock.after(watchEveryMs, measure);
  };
  if (child.pid !== undefined) void measure();
  return {
    stop() {
      isStopped = true;
      cancel();
    },
  };
}
