/** A bucket of `burst` tokens that gains `perSecond` each second. */
export interface RateLimit {
  readonly perSecond: number;
  readonly burst: number;
}

export interface Taken {
  readonly isAllowed: boolean;
  readonly limit: number;
  readonly remaining: number;
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

/** Rounding of sums must not refuse a token. */
const roundingMs = 1e-6;

/**
 * The generic cell rate algorithm: a bucket is one number, its debt, in milliseconds until it is full again. A token
 * costs the time in which one is gained; the debt is at most that of the whole bucket. It needs no timer, and a bucket
 * without debt need not be stored.
 */
interface Price {
  readonly intervalMs: number;
  readonly costMs: number;
  readonly fullMs: number;
}

export function priceOf({ perSecond, burst }: RateLimit, cost: number): Price {
  const intervalMs = 1_000 / perSecond;
  return { intervalMs, costMs: intervalMs * Math.min(cost, burst), fullMs: intervalMs * burst };
}

/** Until the price can be paid, in milliseconds; 0 when it can be. */
export function waitMsFor(debtMs: number, { costMs, fullMs }: Price): number {
  const missingMs = debtMs + costMs - fullMs;
  return missingMs <= roundingMs ? 0 : missingMs;
}

/** `debtMs`: after the payment, or unchanged after a refusal. */
export function toTaken(isAllowed: boolean, debtMs: number, limit: RateLimit, price: Price): Taken {
  const { intervalMs, fullMs } = price;
  return {
    isAllowed,
    limit: limit.burst,
    remaining: Math.max(0, Math.floor((fullMs - debtMs + roundingMs) / intervalMs)),
    resetSeconds: Math.ceil(debtMs / 1_000),
    retryAfterSeconds: isAllowed ? 0 : Math.max(1, Math.ceil(waitMsFor(debtMs, price) / 1_000)),
  };
}
