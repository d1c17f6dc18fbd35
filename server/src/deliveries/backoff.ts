import { doubledMs } from "../lib/backoff.ts";
import type { Random } from "../lib/clock.ts";

export interface RetryPolicy {
  /** Wait after the first failed attempt, doubled after each further one. */
  baseMs: number;
  /** Longest wait between two attempts. */
  maxMs: number;
  /** How long after its first attempt a delivery is tried again. */
  totalMs: number;
}

/**
 * How long to wait after the `attempts`-th attempt: between 75 and 100 % of the doubled base, and never less than the
 * platform asked for, plus up to 5 % so that many waiters do not return at once.
 */
export function backoffMs(policy: RetryPolicy, attempts: number, askedMs: number | null, random: Random): number {
  const doubled = doubledMs({ firstMs: policy.baseMs, longestMs: policy.maxMs }, attempts);
  const own = doubled * (1 - random() * 0.25);
  return Math.round(Math.max(own, askedMs === null ? 0 : askedMs * (1 + random() * 0.05)));
}
