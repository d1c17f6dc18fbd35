import { addAbortListener } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import type { Clock } from "./clock.ts";
import { isRetryableDbError, type Log } from "./postgres.ts";
import { StartError } from "./start-error.ts";
import { startTimeoutMs, type WaitFor } from "./start-progress.ts";

type StartRetry = <T>(work: () => Promise<T>) => Promise<T>;

export interface Start {
  retry: StartRetry;
  /** Throws when the start is to stop, so that it stops between two parts. */
  waitFor: WaitFor;
  signal: AbortSignal;
}

interface StartRetryOptions {
  isEmbedded: boolean;
  clock: Clock;
  log: Log;
  waitFor: WaitFor;
  signal: AbortSignal;
}

const pauseMs = 1_000;

/** Retries for `startTimeoutMs` while the database does not respond in time; then throws a `StartError`. */
export function openStartRetry({ isEmbedded, clock, log, waitFor, signal }: StartRetryOptions): StartRetry {
  const database = isEmbedded ? "the database to respond" : "the database of DATABASE_URL to respond";
  return async (work) => {
    for (const giveUpAt = clock.elapsed() + startTimeoutMs; ; ) {
      try {
        return await unlessAborted(work(), signal);
      } catch (error) {
        if (!isRetryableDbError(error)) throw error;
        if (clock.elapsed() >= giveUpAt) throw unusable(isEmbedded, error);
        log.warn({ reason: reasonOf(error) }, "the database does not respond; the start tries again");
        waitFor(database);
        // The clock's own timers keep no process alive, and nothing else does yet.
        await delay(pauseMs, undefined, { signal });
      }
    }
  };
}

/** The result of the work, or a rejection as soon as the signal aborts; the caller then closes what the work uses. */
export async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const aborted = Promise.withResolvers<never>();
  using _listening = addAbortListener(signal, () => aborted.reject(signal.reason));
  return await Promise.race([work, aborted.promise]);
}

export function unusable(isEmbedded: boolean, error: unknown): StartError {
  const reason = reasonOf(error);
  const sentence = isEmbedded
    ? `The embedded database does not respond (${reason}): try again when this machine is less busy.`
    : `The database of DATABASE_URL cannot be used (${reason}): start it, or correct the URL.`;
  return new StartError(sentence, { cause: error });
}

function reasonOf(error: unknown): string | undefined {
  const { message, code } = error as { message?: string; code?: string };
  return message || code;
}
