import type { Clock } from "../clock.ts";
import { maxKeys, priceOf, type RateLimit, type RateLimits, type Taken, toTaken, waitMsFor } from "./rate-limits.ts";

interface MemoryRateLimits extends RateLimits {
  take(key: string, limit: RateLimit, cost?: number): Taken;
  readonly size: number;
}

/** Full buckets that are dropped with each new key: more than are added. */
const swept = 2;

export function openMemoryRateLimits(clock: Pick<Clock, "elapsed">, most = maxKeys): MemoryRateLimits {
  /** When each bucket is full again, by the clock; least recently used key first. */
  const fullAt = new Map<string, number>();

  function sweep(now: number): void {
    let checked = 0;
    for (const [key, at] of fullAt) {
      if (at <= now || fullAt.size >= most) fullAt.delete(key);
      else return;
      checked += 1;
      if (checked >= swept) return;
    }
  }

  return {
    take(key, limit, cost = 1) {
      const now = clock.elapsed();
      const price = priceOf(limit, cost);
      const known = fullAt.get(key);
      // A lower limit caps the debt at one full bucket.
      const debtMs = known === undefined ? 0 : Math.min(Math.max(known - now, 0), price.fullMs);
      const isAllowed = waitMsFor(debtMs, price) === 0;
      const afterMs = isAllowed ? debtMs + price.costMs : debtMs;
      if (known === undefined) sweep(now);
      else fullAt.delete(key);
      fullAt.set(key, now + afterMs);
      return toTaken(isAllowed, afterMs, limit, price);
    },
    get size() {
      return fullAt.size;
    },
  };
}
