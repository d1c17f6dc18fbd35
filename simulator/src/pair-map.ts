/** A map under two names, without building a key of both. */
export class PairMap<V> {
  readonly #maps = new Map<string, Map<string, V>>();

  get(first: string, second: string): V | undefined {
    return this.#maps.get(first)?.get(second);
  }

  set(first: string, second: string, value: V): void {
    const map = this.#maps.get(first) ?? new Map<string, V>();
    map.set(second, value);
    this.#maps.set(first, map);
  }

  delete(first: string, second: string): void {
    this.#maps.get(first)?.delete(second);
  }

  clear(): void {
    this.#maps.clear();
  }

  *values(): Generator<V> {
    for (const map of this.#maps.values()) yield* map.values();
  }
}
