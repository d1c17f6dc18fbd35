export interface RateLimit {
  /** Milliseconds to wait, or 0 when a token was taken. */
  take(now: number): number;
  /** Spends tokens for further requests, such as the parts of a long text. */
  spend(count: number): void;
  readonly perSecond: number;
}

/** Has a burst of one second, at least one request. */
export function openRateLimit(perSecond: number, now: number): RateLimit {
  const capacity = Math.max(1, perSecond);
  let tokens = capacity;
  let filledAt = now;
  return {
    take(at) {
      tokens = Math.min(capacity, tokens + ((at - filledAt) / 1000) * perSecond);
      filledAt = at;
      if (tokens < 1) return Math.ceil(((1 - tokens) / perSecond) * 1000);
      tokens -= 1;
      return 0;
    },
    spend(count) {
      tokens -= count;
    },
    perSecond,
  };
}
