/** Time as a value, so that a test can hold it still. */
export interface Clock {
  /**
   * Milliseconds since the Unix epoch, for stamps and nothing else: somebody may set this clock back or forward at any
   * moment, and that of another process may be wrong. What two processes have to agree on is timed by the database.
   */
  now(): number;
  /** Milliseconds since some moment in the past: two of these make a duration, however the clock is set in between. */
  elapsed(): number;
  /**
   * Calls back once after `delayMs`, or after `maxDelayMs` if that is sooner; the returned function cancels it and may be
   * called twice. Keeps no process alive.
   */
  after(delayMs: number, callback: () => void): () => void;
}

/** Chance as a value: a number in [0, 1), as `Math.random` gives it. */
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

/** Resolves after `delayMs` by this clock (at once when that is over), or as soon as the signal aborts; never rejects. */
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
