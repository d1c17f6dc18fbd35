/** Chance that can be repeated: the same seed gives the same numbers in [0, 1). Source: mulberry32, public domain. */
export function openChance(seed: number): Chance {
  let state = seed;
  const next = () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  return {
    next,
    below: (limit) => Math.floor(next() * limit),
    of: (items) => items[Math.floor(next() * items.length)]!,
  };
}

export interface Chance {
  next(): number;
  /** A whole number from 0, less than the limit. */
  below(limit: number): number;
  of<Item>(items: readonly Item[]): Item;
}
