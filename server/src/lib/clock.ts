export interface Clock {
  /** Milliseconds since the Unix epoch, for timestamps only: the clock may be wrong, or set at any moment. */
  now(): number;
  /** Milliseconds since a fixed moment. The difference of two is a duration, even if the clock is set in between. */
  elapsed(): number;
  /** Calls back once, after at most `maxDelayMs`. Safe to cancel twice. Does not keep the process alive. */
  after(delayMs: number, callback: () => void): () => void;
}

export type Random = () => number;

/** The longest timer of Node, about 25 days; a longer one fires at once. */
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

/** Resolves after `delayMs`, or as soon as the signal aborts; never rejects. */
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
