/** Gives clients that must retry their times, in milliseconds of one clock. */
export interface Turns {
  /** When one more client may retry. */
  take(now: number): number;
}

export interface TurnsOptions {
  /** The shortest and the longest wait from now to a turn. */
  shortestMs: number;
  longestMs: number;
  /** From one turn to the next, unless that would be later than the longest wait. */
  apartMs: number;
}

/** Spreads retries evenly, so that clients do not return all at once. */
export function openTurns({ shortestMs, longestMs, apartMs }: TurnsOptions): Turns {
  let last = Number.NEGATIVE_INFINITY;
  return {
    take(now) {
      last = Math.min(Math.max(last + apartMs, now + shortestMs), now + longestMs);
      return last;
    },
  };
}
