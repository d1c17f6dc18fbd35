import type { Clock } from "../clock.ts";
import { isAffordable, priceOf, told } from "./bucket.ts";
import { maxKeys, type RateLimit, type RateLimits, type Taken } from "./rate-limits.ts";

export interface MemoryRateLimits extends RateLimits {
  take(key: string, limit: RateLimit, cost?: number): Taken;
  /** Keys that are remembered. */
  readonly size: number;
}

/** Keys whose bucket is full that are forgotten with each new one: more than come, so that none stay. */
const swept = 2;

/** In this process alone. */
export function openMemoryRateLimits(clock: Pick<Clock, "elapsed">, most = maxKeys): MemoryRateLimits {
  /** When each bucket is full again, by the clock; the key that asked longest ago first. */
  const fullAt = new Map<string, number>();

  function sweep(now: number): void {
    let looked = 0;
    for (const [key, at] of fullAt) {
      if (at <= now || fullAt.size >= most) fullAt.delete(key);
      else return;
      looked += 1;
      if (looked >= swept) return;
    }
  }

  return {
    take(key, limit, cost = 1) {
      const now = clock.elapsed();
      const price = priceOf(limit, cost);
      const known = fullAt.get(key);
      // When a limit becomes smaller, a key owes at most one full bucket.
      const debtMs = known === undefined ? 0 : Math.min(Math.max(known - now, 0), price.fullMs);
      const isAllowed = isAffordable(debtMs, price);
      const afterMs = isAllowed ? debtMs + price.costMs : debtMs;
      if (known === undefined) sweep(now);
      else fullAt.delete(key);
      fullAt.set(key, now + afterMs);
      return told(isAllowed, afterMs, limit, price);
    },
    get size() {
      return fullAt.size;
    },
  };
}
