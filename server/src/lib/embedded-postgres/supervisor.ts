import { setTimeout as delay } from "node:timers/promises";
import type { Log } from "../postgres.ts";
import { StartError } from "../start-error.ts";
import { DataDirectoryInUse, type HubLock } from "./hub-lock.ts";
import { adoptOrStart, type Postmaster, PostmasterFailed, type ServerPlace } from "./postmaster.ts";
import { signalAtExit } from "./process.ts";
import { stopPostmaster } from "./stop-postmaster.ts";

type Supervised = {
  place: ServerPlace;
  postmaster: Postmaster;
  lock: HubLock;
  takeLock(signal: AbortSignal): Promise<HubLock>;
  log: Log;
  onFailed(error: Error): void;
};

/**
 * Keeps the server running and the lock held until `stop`. A server that dies is started again at the same address.
 * `onFailed` is called at most once: after too many failures in a short time, or when another hub got the lock; in
 * that case the server is the other's and `stop` leaves it alone.
 */
export function supervise({ place, postmaster, lock, takeLock, log, onFailed }: Supervised): { stop(): Promise<void> } {
  const stopping = new AbortController();
  const stopRequested = new Promise<void>((resolve) => stopping.signal.addEventListener("abort", () => resolve()));
  const rotation = setInterval(() => place.serverLog.rotate(), rotationIntervalMs).unref();
  const failures: number[] = [];
  let belongsToAnother = false;
  // An exit in the middle of things leaves no server behind: it recovers at the next start.
  const forgetExit = signalAtExit(() => (belongsToAnother ? null : postmaster.pid), "SIGQUIT");
  const watching = watch();
  let stopped: Promise<void> | undefined;

  async function watch(): Promise<void> {
    for (;;) {
      await Promise.race([postmaster.exited, lock.lost, stopRequested]);
      if (stopping.signal.aborted) return;
      log.warn({ pid: postmaster.pid }, "the database went away; bringing it back");
      const error = await bringBack();
      if (stopping.signal.aborted) return;
      if (error) return onFailed(error);
      log.info({ pid: postmaster.pid }, "the database is back");
    }
  }

  /** Answers the error that makes it hopeless. */
  async function bringBack(): Promise<Error | undefined> {
    let cause: Error | undefined;
    while (!stopping.signal.aborted) {
      const recent = countFailure(failures);
      if (recent > mostFailures) {
        const last = cause?.message ?? `See ${place.serverLog.path}.`;
        return new Error(`The embedded PostgreSQL failed ${mostFailures} times within a minute. ${last}`, { cause });
      }
      await delay(pauseMs(recent));
      try {
        ({ postmaster } = await adoptOrStart(place, { endpoint: postmaster.endpoint, signal: stopping.signal }));
        lock = await takeLock(stopping.signal);
        return undefined;
      } catch (error) {
        belongsToAnother = error instanceof DataDirectoryInUse;
        cause = error as Error;
        if (isHopeless(cause)) return cause;
        log.warn({ reason: cause.message }, "the database does not come back yet");
      }
    }
    return undefined;
  }

  async function stopAll(): Promise<void> {
    stopping.abort();
    clearInterval(rotation);
    await watching;
    if (belongsToAnother) return forgetExit();
    const outcome = await stopPostmaster(postmaster, place);
    forgetExit();
    if (outcome !== "clean") log.warn({ pid: postmaster.pid, outcome }, "the database did not stop by itself");
    await lock.release();
  }

  return {
    stop() {
      stopped ??= stopAll();
      return stopped;
    },
  };
}

const mostFailures = 10;
const failureWindowMs = 60_000;
const longestPauseMs = 1000;
const rotationIntervalMs = 30_000;

/** A server that does not start may start later; what else needs the operator needs the operator. */
function isHopeless(error: Error): boolean {
  return error instanceof StartError && !(error instanceof PostmasterFailed);
}

/** How many there were within the window, this one included. */
function countFailure(failures: number[]): number {
  const now = performance.now();
  failures.push(now);
  while (failures[0]! < now - failureWindowMs) failures.shift();
  return failures.length;
}

function pauseMs(failures: number): number {
  return Math.min(longestPauseMs, 25 * 2 ** failures);
}
