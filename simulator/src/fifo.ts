/** How many taken places may gather at the front before the list is cut. */
const SLACK = 1024;

/** A first-in first-out list whose `take` does not move the rest. */
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

  /** Removes and returns up to `count` of the oldest. */
  take(count: number): T[] {
    const taken = this.#items.slice(this.#start, this.#start + count);
    this.#start += taken.length;
    if (this.#start === this.#items.length) this.clear();
    else if (this.#start > SLACK && this.#start * 2 > this.#items.length) {
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
