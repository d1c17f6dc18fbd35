/**
 * A bounded queue with two levels of round robin (stochastic fair queueing without the hashing, McKenney 1990):
 * IP addresses take turns, and so do the accounts of an IP address, so that a source with a hundred requests delays
 * each other by one turn a round. Each account, each IP address and the whole queue have a limit. In a full queue the
 * newest request of the largest source gives way to a smaller source (McKenney's buffer stealing).
 */
export interface Source {
  /** The client's IP address in the form of `addressKey`. */
  address: string;
  account: string;
}

export interface LineLimits {
  total: number;
  perAddress: number;
  perAccount: number;
}

interface Waiting {
  source: Source;
  pair: string;
  serve: () => void;
  refuse: () => void;
}

export class FairLine {
  readonly #limits: LineLimits;
  readonly #waiting: Waiting[] = [];
  readonly #addresses: string[] = [];
  readonly #pairs: string[] = [];

  constructor(limits: LineLimits) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#waiting.length;
  }

  hasRoom(address: string): boolean {
    if (this.size < this.#limits.total) return true;
    const own = this.#count((one) => one.address === address);
    return this.#largest(this.#waiting, (one) => one.address).count > own + 1;
  }

  /** True when it is served; false at once when its share is full, or later when it gives way. */
  enter(source: Source): Promise<boolean> {
    if (!this.#makeRoom(source)) return Promise.resolve(false);
    return new Promise((resolve) => {
      const pair = `${source.address} ${source.account}`;
      this.#waiting.push({ source, pair, serve: () => resolve(true), refuse: () => resolve(false) });
      if (!this.#addresses.includes(source.address)) this.#addresses.push(source.address);
      if (!this.#pairs.includes(pair)) this.#pairs.push(pair);
    });
  }

  serveNext(): boolean {
    const address = this.#addresses[0];
    const pair = this.#pairs.find((one) => this.#waiting.some((w) => w.pair === one && w.source.address === address));
    const next = this.#waiting.find((one) => one.pair === pair);
    if (next === undefined) return false;
    this.#remove(next);
    moveToEnd(this.#addresses, next.source.address);
    moveToEnd(this.#pairs, next.pair);
    next.serve();
    return true;
  }

  #makeRoom(source: Source): boolean {
    const { total, perAddress, perAccount } = this.#limits;
    const isSameAccount = (one: Source) => one.account === source.account;
    const isSameAddress = (one: Source) => one.address === source.address;
    return (
      this.#makeRoomIn(source, { most: perAccount, among: isSameAccount, by: (one) => one.address }) &&
      this.#makeRoomIn(source, { most: perAddress, among: isSameAddress, by: (one) => one.account }) &&
      this.#makeRoomIn(source, { most: total, among: () => true, by: (one) => one.address })
    );
  }

  #makeRoomIn(
    source: Source,
    share: { most: number; among: (one: Source) => boolean; by: (one: Source) => string },
  ): boolean {
    const those = this.#waiting.filter((one) => share.among(one.source));
    if (those.length < share.most) return true;
    const largest = this.#largest(those, share.by);
    const own = those.filter((one) => share.by(one.source) === share.by(source)).length;
    // Even with one more request, the source must have fewer than the largest one had.
    if (largest.count <= own + 1) return false;
    const newest = those.findLast((one) => share.by(one.source) === largest.name)!;
    this.#remove(newest);
    newest.refuse();
    return true;
  }

  #largest(those: readonly Waiting[], by: (one: Source) => string): { name: string; count: number } {
    let largest = { name: "", count: 0 };
    for (const [name, group] of Map.groupBy(those, (one) => by(one.source))) {
      if (group.length > largest.count) largest = { name, count: group.length };
    }
    return largest;
  }

  #count(isMeant: (one: Source) => boolean): number {
    return this.#waiting.filter((one) => isMeant(one.source)).length;
  }

  #remove(one: Waiting): void {
    this.#waiting.splice(this.#waiting.indexOf(one), 1);
    if (!this.#waiting.some((other) => other.pair === one.pair)) removeFrom(this.#pairs, one.pair);
    if (this.#count(({ address }) => address === one.source.address) === 0) {
      removeFrom(this.#addresses, one.source.address);
    }
  }
}

function moveToEnd(names: string[], name: string): void {
  if (removeFrom(names, name)) names.push(name);
}

function removeFrom(names: string[], name: string): boolean {
  const at = names.indexOf(name);
  if (at >= 0) names.splice(at, 1);
  return at >= 0;
}
