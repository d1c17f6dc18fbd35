/** A bucket that holds `burst` tokens and gains `perSecond` of them each second. */
export interface RateLimit {
  readonly perSecond: number;
  /** A whole number, at least 1. */
  readonly burst: number;
}

/** What came of asking for tokens, for the answer's headers. */
export interface Taken {
  /** When false, nothing was taken; and asking in vain makes nobody wait longer. */
  readonly isAllowed: boolean;
  /** The burst. */
  readonly limit: number;
  /** What may still be taken now. */
  readonly remaining: number;
  /** Until the bucket is full again, rounded up. */
  readonly resetSeconds: number;
  /** 0 when allowed; else at least 1: until the same is allowed, if nobody else takes. */
  readonly retryAfterSeconds: number;
}

/**
 * Who may do how much. A key that is asked for the first time, or was full again, has a full bucket; the limit belongs
 * to the question, so a changed one counts at once. Never throws and never rejects: where the common count cannot be
 * reached, each process counts for itself.
 */
export interface RateLimits {
  /**
   * Takes `cost` tokens of the key's bucket if they are there; a cost above the burst counts as the burst, so that it is
   * possible at all. Answers at once where the count is in the process, without a promise.
   */
  take(key: string, limit: RateLimit, cost?: number): Taken | Promise<Taken>;
}

/** Keys of which a process remembers the count; beyond it the one that asked longest ago starts anew. */
export const maxKeys = 100_000;
