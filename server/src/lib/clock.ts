/** Time as a value, so that tests can control it. */
export interface Clock {
  /**
   * Milliseconds since the Unix epoch, for stamps only: this clock may be set at any moment, and that of another
   * process may be wrong. Where processes must agree on a time, the database's clock decides.
   */
  now(): number;
  /** Milliseconds since a fixed moment. The difference of two is a duration, even if the clock is set in between. */
  elapsed(): number;
  /**
   * Calls back once after `delayMs`, or after `maxDelayMs` if that is sooner; the returned function cancels it and may
   * be called twice. Keeps no process alive.
   */
  after(delayMs: number, callback: () => void): () => void;
}

/** Randomness as a value: a number in [0, 1), as from `Math.random`. */
export type Random = () => number;

/** The longest timer that Node has, about 25 days: a longer one would go off at once. */
export const maxDelayMs = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => Date.now(),
  elapsed: () => performance.now(),
  after(delayMs, callback) {
    const timer = setTimeout(callback, Math.min(delayMs, maxDelayMs));
    timer.unref();
    return () => clearTimeout(timer);
  },
};

/**
 * Resolves after `delayMs` by this clock (at once when that is over), or as soon as the signal aborts; never rejects.
 */
export function pause(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted || delayMs <= 0) return resolve();
    const done = () => {
      cancel();
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const cancel = clock.after(delayMs, done);
    signal?.addEventListener("abort", done, { once: true });
  });
}
