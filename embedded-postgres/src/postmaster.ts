import { execFile } from "node:child_process";
import { once } from "node:events";
import { closeSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import type { Binaries } from "./binaries.ts";
import { DataDirError, diskFull } from "./data-dir.ts";
import { chooseEndpoint, type Endpoint } from "./endpoint.ts";
import {
  isAlive,
  isServerOf,
  killServerOrphans,
  readOrEmpty,
  readPidFile,
  removeMisleadingPidFile,
  signal,
  signalAtExit,
} from "./processes.ts";
import { reasonOf, type ServerLog, saysDiskFull } from "./server-log.ts";
import { type ServerUser, spawnAs } from "./server-user.ts";
import { serverArguments } from "./settings.ts";

export type Postmaster = { pid: number; endpoint: Endpoint; exited: Promise<void> };

export type ServerPlace = { directory: string; binaries: Binaries; user: ServerUser; serverLog: ServerLog };

/** `isPassing`: another start soon may succeed. */
class PostmasterFailed extends DataDirError {
  override name = "PostmasterFailed";
  readonly isPassing: boolean;
  readonly code: string | undefined;

  constructor(message: string, { isPassing, code }: { isPassing: boolean; code?: string }) {
    super(message);
    this.isPassing = isPassing;
    this.code = code;
  }
}

/** Adopts the running server, or starts one at `endpoint` or the best place. */
export async function adoptOrStart(
  place: ServerPlace,
  { endpoint, signal }: { endpoint?: Endpoint; signal?: AbortSignal } = {},
): Promise<{ postmaster: Postmaster; adopted: boolean }> {
  const deadline = performance.now() + passingLimitMs;
  for (;;) {
    const running = await findPostmaster(place.directory, signal);
    if (running) return { postmaster: running, adopted: true };
    removeMisleadingPidFile(place.directory);
    try {
      const chosen = endpoint ?? (await chooseEndpoint(place.directory));
      return { postmaster: await startPostmaster(place, chosen, signal), adopted: false };
    } catch (error) {
      const isPassing = error instanceof PostmasterFailed && error.isPassing;
      if (!isPassing || signal?.aborted || performance.now() > deadline) throw error;
      if (performance.now() > deadline - passingLimitMs + orphanLimitMs) killServerOrphans(place.directory);
      await delay(passingPauseMs);
    }
  }
}

const passingLimitMs = 10_000;
const passingPauseMs = 100;
const orphanLimitMs = 1000;

/** Replaying the log after a crash may take long, and must not be interrupted. */
const recoveryLimitMs = 10 * 60_000;
const pollMs = 10;
/** For a server of another process to become ready, or to end. */
const notReadyLimitMs = 60_000;

/** In a session of its own, so that a Ctrl-C does not reach it. Throws `PostmasterFailed`. */
async function startPostmaster(place: ServerPlace, endpoint: Endpoint, signal?: AbortSignal): Promise<Postmaster> {
  place.serverLog.rotate();
  const offset = place.serverLog.sizeBytes();
  const output = place.serverLog.open();
  const child = spawnAs(place.user, place.binaries.postgres, serverArguments(place.directory, endpoint), {
    detached: true,
    stdio: ["ignore", output, output],
  });
  closeSync(output);
  child.unref();
  // Only this process uses it until it is ready.
  const forgetExit = signalAtExit(() => child.pid ?? null, "SIGQUIT");
  let hasExited = false;
  const exited = once(child, "exit")
    .catch(() => {})
    .then(() => {
      hasExited = true;
    });
  const deadline = performance.now() + recoveryLimitMs;
  while (!hasExited) {
    const file = readPidFile(place.directory);
    if (file?.pid === child.pid && file?.status === "ready") {
      forgetExit();
      return { pid: file.pid, endpoint: file.endpoint, exited };
    }
    if (signal?.aborted || performance.now() > deadline) child.kill("SIGINT");
    await delay(pollMs);
  }
  forgetExit();
  throw explainExit(place, place.serverLog.since(offset));
}

async function findPostmaster(directory: string, signal?: AbortSignal): Promise<Postmaster | null> {
  const deadline = performance.now() + notReadyLimitMs;
  for (;;) {
    const file = readPidFile(directory);
    if (!file || !isServerOf(file.pid, directory)) return null;
    if (file.status === "ready") return { pid: file.pid, endpoint: file.endpoint, exited: exitOf(file.pid) };
    if (performance.now() > deadline) {
      throw new DataDirError(
        `A PostgreSQL (process ${file.pid}) runs in ${directory} but is ${file.status || "not ready"}: stop it and start again.`,
      );
    }
    await delay(pollMs, undefined, { signal });
  }
}

/** Not our child process, so it is polled. */
async function exitOf(pid: number): Promise<void> {
  while (isAlive(pid)) await delay(watchMs, undefined, { ref: false });
}

const watchMs = 250;

function explainExit({ directory, serverLog }: ServerPlace, output: string): PostmasterFailed {
  if (saysDiskFull(output)) return new PostmasterFailed(diskFull(directory), { isPassing: false, code: "ENOSPC" });
  const sentence = `PostgreSQL does not start in ${directory}: ${reasonOf(output)} (more in ${serverLog.path}).`;
  return new PostmasterFailed(sentence, { isPassing: passing.test(output) });
}

/** A killed server's processes still hold its memory; another start is under way; the free port was taken. */
const passing = /pre-existing shared memory block|lock file ".*" already exists|could not (?:create any TCP\/IP|bind)/;

const steps = [
  // Ends every session and writes a checkpoint: the next start needs no recovery.
  { name: "SIGINT", windowsMode: "fast", limitMs: 6000 },
  { name: "SIGQUIT", windowsMode: "immediate", limitMs: 1500 },
  { name: "SIGKILL", windowsMode: "immediate", limitMs: 1500 },
] as const;

/** Stops the server and all its processes within 9 s, gently if possible. */
export async function stopPostmaster(
  postmaster: Postmaster,
  place: ServerPlace,
): Promise<"clean" | "forced" | "still running"> {
  for (const { name, windowsMode, limitMs } of steps) {
    // Each server process leads its own group, so a kill of the first group would miss the others.
    const children = name === "SIGKILL" ? readOrEmpty(`/proc/${postmaster.pid}/task/${postmaster.pid}/children`) : "";
    if (process.platform === "win32") {
      execFile(place.binaries.pg_ctl, ["stop", "-D", place.directory, "-m", windowsMode, "-W"], () => {});
    } else {
      for (const pid of [postmaster.pid, ...children.split(" ").filter(Boolean).map(Number)]) signal(pid, name);
    }
    const timer = new AbortController();
    const late = delay(limitMs, "late" as const, { signal: timer.signal }).catch(() => "late" as const);
    const outcome = await Promise.race([postmaster.exited, late]);
    timer.abort();
    if (outcome !== "late") return name === "SIGINT" ? "clean" : "forced";
  }
  return "still running";
}
