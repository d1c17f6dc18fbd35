import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import { DataDirectoryInUse, type DirectoryLock } from "./directory-lock.ts";
import { adoptOrStart, type Postmaster, type ServerPlace, stopPostmaster } from "./postmaster.ts";
import { signalAtExit } from "./processes.ts";

export type Log = Record<"info" | "warn", (fields: object, message: string) => void>;

type Supervised = {
  place: ServerPlace;
  postmaster: Postmaster;
  lock: DirectoryLock;
  takeLock(signal: AbortSignal): Promise<DirectoryLock>;
  log: Log;
  onFailed(error: Error): void;
  onRestartFailed(error: unknown): void;
  onRestarted(): void;
};

/**
 * Restarts a dead server at the same address, without a limit: a full disk may get room again. Calls `onFailed` once,
 * when another process has the lock. The returned function stops the server, unless another process has it. Safe to call twice.
 */
export function supervise(supervised: Supervised): () => Promise<void> {
  const { place, takeLock, log, onFailed, onRestartFailed, onRestarted } = supervised;
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
      await Promise.race([delay(Math.min(longestPauseMs, firstPauseMs * 2 ** (failures - 1))), stopRequested]);
      if (stopping.signal.aborted) return undefined;
      try {
        ({ postmaster } = await adoptOrStart(place, { endpoint: postmaster.endpoint, signal: stopping.signal }));
        lock = await takeLock(stopping.signal);
        onRestarted();
        return undefined;
      } catch (error) {
        belongsToAnother = error instanceof DataDirectoryInUse;
        if (belongsToAnother) return error as Error;
        onRestartFailed(error);
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

/** Doubled after each failure in a row, up to the longest. */
const firstPauseMs = 50;
const longestPauseMs = 1_000;
const rotationIntervalMs = 30_000;
