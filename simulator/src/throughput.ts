/** Names remembered; the quietest are forgotten first. */
const MAX_NAMES = 10_000;

/** Messages a second for each of many names, with a burst of one second's worth. */
export class Throughput {
  readonly #now: () => number;
  readonly #buckets = new Map<string, { tokens: number; at: number }>();

  constructor(now: () => number) {
    this.#now = now;
  }

  /** Whether one more message of this name is within `perSecond`; 0: always. */
  allows(name: string, perSecond: number): boolean {
    if (perSecond === 0) return true;
    const now = this.#now();
    const bucket = this.#buckets.get(name) ?? { tokens: perSecond, at: now };
    const tokens = Math.min(perSecond, bucket.tokens + ((now - bucket.at) * perSecond) / 1000);
    const allowed = tokens >= 1;
    this.#buckets.delete(name);
    this.#buckets.set(name, { tokens: allowed ? tokens - 1 : tokens, at: now });
    if (this.#buckets.size > MAX_NAMES) this.#buckets.delete(this.#buckets.keys().next().value!);
    return allowed;
  }
}
