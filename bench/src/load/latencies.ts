const bucketMs = 0.01;
const buckets = 1_000_000;

export interface LatencySummary {
  p50: number;
  p99: number;
  max: number;
}

/** Counts latencies in steps of 10 µs, up to 10 s. */
export function latencies() {
  const counts = new Uint32Array(buckets);
  let total = 0;
  let max = 0;

  function quantile(share: number): number {
    let left = Math.ceil(total * share);
    for (let index = 0; index < buckets; index += 1) {
      left -= counts[index]!;
      if (left <= 0) return Math.min(max, (index + 1) * bucketMs);
    }
    return max;
  }

  return {
    add(ms: number): void {
      const index = Math.min(buckets - 1, Math.max(0, Math.floor(ms / bucketMs)));
      counts[index]! += 1;
      total += 1;
      if (ms > max) max = ms;
    },
    summary(): LatencySummary {
      return total === 0 ? { p50: 0, p99: 0, max: 0 } : { p50: quantile(0.5), p99: quantile(0.99), max };
    },
  };
}
