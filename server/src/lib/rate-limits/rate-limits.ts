/** A bucket of `burst` tokens that gains `perSecond` each second. */
export interface RateLimit {
  readonly perSecond: number;
  /** A whole number, at least 1. */
  readonly burst: number;
}

export interface Taken {
  /** When false, nothing was taken. */
  readonly isAllowed: boolean;
  readonly limit: number;
  readonly remaining: number;
  /** Until the bucket is full again, rounded up. */
  readonly resetSeconds: number;
  /** 0 when allowed, else at least 1: when the same would be allowed, without other requests. */
  readonly retryAfterSeconds: number;
}

/** A new key has a full bucket; a changed limit counts at once. Never throws or rejects. */
export interface RateLimits {
  /** A cost above the burst counts as the burst. Returns no promise where the count is in the process. */
  take(key: string, limit: RateLimit, cost?: number): Taken | Promise<Taken>;
}

/** Keys that a process counts; beyond it the least recently used one starts again. */
export const maxKeys = 100_000;
