import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import { type Backoff, doubledMs } from "../backoff.ts";
import type { Log } from "../postgres.ts";
import type { Troubles } from "../troubles.ts";
import { DataDirectoryInUse, type HubLock } from "./hub-lock.ts";
import { adoptOrStart, type Postmaster, type ServerPlace, stopPostmaster } from "./postmaster.ts";
import { signalAtExit } from "./processes.ts";

type Supervised = {
  place: ServerPlace;
  postmaster: Postmaster;
  lock: HubLock;
  takeLock(signal: AbortSignal): Promise<HubLock>;
  log: Log;
  troubles: Troubles;
  onFailed(error: Error): void;
};

/**
 * Restarts a dead server at the same address, without a limit: a full disk may get room again. Calls `onFailed` once,
 * when another hub has the lock. The returned function stops the server, unless another hub has it. Safe to call twice.
 */
export function supervise(supervised: Supervised): () => Promise<void> {
  const { place, takeLock, log, troubles, onFailed } = supervised;
  let { postmaster, lock } = supervised;
  const stopping = new AbortController();
  const stopRequested = once(stopping.signal, "abort");
  const rotation = setInterval(() => place.serverLog.rotate(), rotationIntervalMs).unref();
  let belongsToAnother = false;
  // A process that exits early leaves no server; the next start recovers.
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

  async function bringBack(): Promise<Error | undefined> {
    for (let failures = 1; ; failures += 1) {
      await Promise.race([delay(doubledMs(restartBackoff, failures)), stopRequested]);
      if (stopping.signal.aborted) return undefined;
      try {
        ({ postmaster } = await adoptOrStart(place, { endpoint: postmaster.endpoint, signal: stopping.signal }));
        lock = await takeLock(stopping.signal);
        troubles.worked(part);
        return undefined;
      } catch (error) {
        belongsToAnother = error instanceof DataDirectoryInUse;
        if (belongsToAnother) return error as Error;
        troubles.failed(part, error);
      }
    }
  }

  async function stopAll(): Promise<void> {
    stopping.abort();
    clearInterval(rotation);
    await watching;
    if (belongsToAnother) return forgetExit();
    const outcome = await stopPostmaster(postmaster, place);
    forgetExit();
    if (outcome !== "clean") log.warn({ pid: postmaster.pid, outcome }, "the database did not stop in time");
    await lock.release();
  }

  return () => {
    stopped ??= stopAll();
    return stopped;
  };
}

const part = "embedded PostgreSQL";
const restartBackoff: Backoff = { firstMs: 50, longestMs: 1_000 };
const rotationIntervalMs = 30_000;
