import { BoundedMap } from "./collections.ts";

const maxNames = 10_000;

/** Whether one more message of this name is within `perSecond`, with a burst of one second's worth; 0: always. */
export type Throughput = (name: string, perSecond: number) => boolean;

export function openThroughput(now: () => number): Throughput {
  const buckets = new BoundedMap<string, { tokens: number; at: number }>(maxNames);
  return (name, perSecond) => {
    if (perSecond === 0) return true;
    const at = now();
    const bucket = buckets.get(name) ?? { tokens: perSecond, at };
    const tokens = Math.min(perSecond, bucket.tokens + ((at - bucket.at) * perSecond) / 1000);
    buckets.set(name, { tokens: tokens >= 1 ? tokens - 1 : tokens, at });
    return tokens >= 1;
  };
}
