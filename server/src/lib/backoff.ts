export interface Backoff {
  firstMs: number;
  longestMs: number;
}

/** The pause after the `failures`-th failure in a row (1 and more): doubled with each, up to the longest. */
export function doubledMs({ firstMs, longestMs }: Backoff, failures: number): number {
  return Math.min(longestMs, firstMs * 2 ** (failures - 1));
}
