/**
 * The generic cell rate algorithm: of a bucket only its debt is kept, the milliseconds until it is full again. Each
 * token costs the time in which one is gained, and no more may be owed than the whole bucket is worth. So a bucket is
 * one number, needs no timer, and one without debt need not be kept at all.
 */
import type { RateLimit, Taken } from "./rate-limits.ts";

/** Sums of fractions of a millisecond must not refuse a token that is there. */
const roundingMs = 1e-6;

export interface Price {
  /** For one token, in milliseconds. */
  readonly intervalMs: number;
  /** For what is asked. */
  readonly costMs: number;
  /** For the whole bucket. */
  readonly fullMs: number;
}

export function priceOf({ perSecond, burst }: RateLimit, cost: number): Price {
  const intervalMs = 1_000 / perSecond;
  return { intervalMs, costMs: intervalMs * Math.min(cost, burst), fullMs: intervalMs * burst };
}

export function isAffordable(debtMs: number, { costMs, fullMs }: Price): boolean {
  return debtMs + costMs <= fullMs + roundingMs;
}

/** `debtMs`: after what was asked is paid, or, when it was refused, as it is. */
export function told(isAllowed: boolean, debtMs: number, limit: RateLimit, price: Price): Taken {
  const { intervalMs, costMs, fullMs } = price;
  return {
    isAllowed,
    limit: limit.burst,
    remaining: Math.max(0, Math.floor((fullMs - debtMs + roundingMs) / intervalMs)),
    resetSeconds: Math.ceil(debtMs / 1_000),
    retryAfterSeconds: isAllowed ? 0 : Math.max(1, Math.ceil((debtMs + costMs - fullMs) / 1_000)),
  };
}
