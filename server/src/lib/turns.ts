/** Gives those who have to come again their turns. In milliseconds of one clock. */
export interface Turns {
  /** When one more may come. */
  take(now: number): number;
}

export interface TurnsOptions {
  /** From now to the next turn, at least and at most. */
  shortestMs: number;
  longestMs: number;
  /** From one turn to the next, unless that would be later than the longest wait. */
  apartMs: number;
}

/** Those who wait come evenly, one after the other, and not all at once. */
export function openTurns({ shortestMs, longestMs, apartMs }: TurnsOptions): Turns {
  let last = Number.NEGATIVE_INFINITY;
  return {
    take(now) {
      last = Math.min(Math.max(last + apartMs, now + shortestMs), now + longestMs);
      return last;
    },
  };
}
