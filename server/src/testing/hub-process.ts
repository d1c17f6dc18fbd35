import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { patient } from "./patience.ts";

const program = fileURLToPath(new URL("../main.ts", import.meta.url));
const check = fileURLToPath(new URL("../../check-node.cjs", import.meta.url));
const usuallyReadyWithinMs = patient(60_000);
/** Characters kept of each stream. */
const keptOutput = 20_000;

interface HubProcessOptions {
  cwd: string;
  env: Record<string, string>;
  /** Of Node.js. */
  nodeArguments?: readonly string[];
  /** Of the hub: a command. */
  args?: readonly string[];
  /** In its own process group, where a Ctrl-C does not reach it. */
  isDetached?: boolean;
  /** Null: as long as the hub itself waits for what it needs. */
  readyWithinMs?: number | null;
}

export interface HubProcess {
  child: ChildProcess;
  pid: number;
  /** Rejects, with the output, when the process ends before, or takes too long. */
  ready: Promise<void>;
  ended: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  stdout(): string;
  stderr(): string;
  kill(signal: NodeJS.Signals): void;
}

/** Whether hubs in tests fuse steps, if `FUSE` says so: every suite holds either way. */
export const fuseOfTests: Record<string, string> = process.env.FUSE ? { FUSE: process.env.FUSE } : {};

/** `main.ts` as `npm start` runs it, or one of its commands. Of our own environment it gets only what programs need. */
export function spawnHub({
  cwd,
  env,
  nodeArguments = [],
  args = [],
  isDetached = false,
  readyWithinMs = usuallyReadyWithinMs,
}: HubProcessOptions): HubProcess {
  const kept = Object.fromEntries(["PATH", "HOME", "TMPDIR", "LANG"].map((name) => [name, process.env[name] ?? ""]));
  const child = spawn(process.execPath, [...nodeArguments, "--require", check, program, ...args], {
    cwd,
    env: { ...kept, ...fuseOfTests, ...env },
    stdio: ["ignore", "pipe", "pipe"],
    detached: isDetached,
  });
  const output = { stdout: "", stderr: "" };
  const ended = once(child, "exit").then(([code, signal]) => ({ code, signal }));
  const ready = new Promise<void>((resolve, reject) => {
    const fail = (what: string) => reject(new Error(`The hub ${what}.\n${output.stdout}\n${output.stderr}`));
    const isLate = () => fail("was not ready in time");
    const timer = readyWithinMs === null ? undefined : setTimeout(isLate, readyWithinMs);
    child.stdout.on("data", (chunk) => {
      output.stdout = (output.stdout + chunk).slice(-keptOutput);
      if (output.stdout.includes("is ready")) resolve();
    });
    child.stderr.on("data", (chunk) => {
      output.stderr = (output.stderr + chunk).slice(-keptOutput);
    });
    child.once("exit", () => {
      clearTimeout(timer);
      fail("ended before it was ready");
    });
    child.stdout.once("end", () => clearTimeout(timer));
  });
  // A test that kills it earlier need not wait for this.
  ready.catch(() => {});
  return {
    child,
    pid: child.pid!,
    ready,
    ended,
    stdout: () => output.stdout,
    stderr: () => output.stderr,
    kill: (signal) => void child.kill(signal),
  };
}
