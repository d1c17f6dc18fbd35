import { doubledMs } from "../../lib/backoff.ts";
import type { Random } from "../../lib/clock.ts";

export interface RetryPolicy {
  /** The wait after the first failed attempt, doubled after each further one. */
  baseMs: number;
  maxMs: number;
  /** Retries end this long after the first attempt. */
  totalMs: number;
}

/**
 * The wait after the `attempts`-th attempt: 75 to 100 % of the doubled base, and at least what the platform asked for
 * plus up to 5 %, so that retries spread out.
 */
export function backoffMs(policy: RetryPolicy, attempts: number, askedMs: number | null, random: Random): number {
  const doubled = doubledMs({ firstMs: policy.baseMs, longestMs: policy.maxMs }, attempts);
  const own = doubled * (1 - random() * 0.25);
  return Math.round(Math.max(own, askedMs === null ? 0 : askedMs * (1 + random() * 0.05)));
}
