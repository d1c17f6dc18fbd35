import { priceOf, type RateLimit, waitMsFor } from "./rate-limits.ts";

/** One bucket in this process. Times are those of `Clock.elapsed`. */
export class TokenBucket {
  readonly limit: RateLimit;
  #fullAt: number;

  /** Full at first. */
  constructor(limit: RateLimit, now: number) {
    this.limit = limit;
    this.#fullAt = now;
  }

  isFull(now: number): boolean {
    return this.#fullAt <= now;
  }

  /** Takes a token and returns 0, or returns the milliseconds until there is one. */
  take(now: number): number {
    const price = priceOf(this.limit, 1);
    const debtMs = Math.max(this.#fullAt - now, 0);
    const waitMs = waitMsFor(debtMs, price);
    if (waitMs > 0) return Math.ceil(waitMs);
    this.#fullAt = now + debtMs + price.costMs;
    return 0;
  }

  /** Takes tokens that may not be there yet: the next `take` waits for them. A negative count gives them back. */
  spend(count: number): void {
    this.#fullAt += count * priceOf(this.limit, 1).intervalMs;
  }
}
