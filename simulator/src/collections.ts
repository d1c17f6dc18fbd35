/** A map that forgets what was set longest ago when it grows past `max`. */
export class BoundedMap<K, V> extends Map<K, V> {
  readonly #max: number;

  constructor(max: number) {
    super();
    this.#max = max;
  }

  override set(key: K, value: V): this {
    super.delete(key);
    super.set(key, value);
    if (this.size > this.#max) super.delete(this.keys().next().value as K);
    return this;
  }
}

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

const slack = 1024;

export class Fifo<T> {
  #items: T[] = [];
  #start = 0;

  get size(): number {
    return this.#items.length - this.#start;
  }

  add(item: T): void {
    this.#items.push(item);
  }

  peek(): T | undefined {
    return this.#items[this.#start];
  }

  take(count: number): T[] {
    const taken = this.#items.slice(this.#start, this.#start + count);
    this.#start += taken.length;
    if (this.#start === this.#items.length) this.clear();
    else if (this.#start > slack && this.#start * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#start);
      this.#start = 0;
    }
    return taken;
  }

  clear(): void {
    this.#items = [];
    this.#start = 0;
  }
}
