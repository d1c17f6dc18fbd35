/** A bucket of `burst` tokens that gains `perSecond` each second. */
export interface RateLimit {
  readonly perSecond: number;
  /** A whole number, at least 1. */
  readonly burst: number;
}

/** For the headers of the answer. */
export interface Taken {
  /** When false, nothing was taken, and the wait is not longer for it. */
  readonly isAllowed: boolean;
  readonly limit: number;
  /** Tokens that are left. */
  readonly remaining: number;
  /** Until the bucket is full again, rounded up. */
  readonly resetSeconds: number;
  /** 0 when allowed, else at least 1: when the same would be allowed, without other requests. */
  readonly retryAfterSeconds: number;
}

/**
 * Rate limits by key. A new key has a full bucket; a changed limit counts at once. Never throws or rejects: while the
 * shared count is unreachable, each process counts for itself.
 */
export interface RateLimits {
  /**
   * Takes `cost` tokens, if they are there; a cost above the burst counts as the burst. Returns without a promise where
   * the count is in the process.
   */
  take(key: string, limit: RateLimit, cost?: number): Taken | Promise<Taken>;
}

/** Keys that a process counts; beyond it the least recently used one starts again. */
export const maxKeys = 100_000;
