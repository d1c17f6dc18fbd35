import { type Clock, pause } from "./clock.ts";

/** Group commit: items that arrive during a run share the next one. A lone item does not wait. */
export interface Batcher<Item, Result> {
  /** Results in the items' order. The items of one call stay together and in order. Throws `BatcherFull`. */
  submit(items: readonly Item[]): Promise<Result[]>;
  submitOne(item: Item): Promise<Result>;
  readonly waiting: number;
  idle(): Promise<void>;
}

export interface BatcherOptions<Item, Result> {
  /** Items to a run, at the most, unless a single call brings more. */
  maxBatch: number;
  maxWaiting: number;
  /** Refuses more items while the oldest has waited for longer. Default: no limit. */
  maxWaitMs?: number;
  /** Runs at the same time, so that one that hangs does not delay the items behind it. Default: 1. */
  maxRuns?: number;
  /** Items with the same key keep their order, and are never in two runs at the same time. */
  keyOf?: (item: Item) => string;
  /** The least time from run to run while several items arrive at a time, so that each takes more of them. */
  paceMs?: number;
  clock: Clock;
  /** One result for each item, in their order. Throwing fails every item of the run. */
  run: (items: Item[]) => Promise<readonly Result[]>;
}

/** No item of the call was taken. */
export class BatcherFull extends Error {
  override readonly name = "BatcherFull";
}

interface Call<Item, Result> {
  items: readonly Item[];
  keys: readonly string[];
  since: number;
  resolve: (results: Result[]) => void;
  reject: (error: unknown) => void;
}

/** Calls with keys of runs under way that are passed over for later ones. */
const maxBlocked = 1_000;

/** Runs are spaced out once one has taken this many: each costs a round trip. */
const severalItems = 4;

export function openBatcher<Item, Result>(options: BatcherOptions<Item, Result>): Batcher<Item, Result> {
  const { maxBatch, maxWaiting, maxWaitMs = Number.POSITIVE_INFINITY, maxRuns = 1, paceMs = 0 } = options;
  const { keyOf = null, clock, run } = options;
  let queue: Call<Item, Result>[] = [];
  let waiting = 0;
  let runs = 0;
  const keysUnderWay = new Set<string>();
  /** All that waits has a key of a run under way. */
  let isBlocked = false;
  let whenIdle: (() => void)[] = [];
  let lastStart = Number.NEGATIVE_INFINITY;
  let lastSize = 0;

  async function runAll(): Promise<void> {
    while (queue.length > 0) {
      if (lastSize >= severalItems && waiting < maxBatch) await pause(clock, lastStart + paceMs - clock.elapsed());
      lastStart = clock.elapsed();
      const calls = takeCalls();
      if (calls.length === 0) break;
      const items = calls.flatMap((call) => call.items);
      lastSize = items.length;
      const keys = calls.flatMap((call) => call.keys);
      for (const key of keys) keysUnderWay.add(key);
      try {
        const results = await run(items);
        let start = 0;
        for (const call of calls) {
          call.resolve(results.slice(start, start + call.items.length));
          start += call.items.length;
        }
      } catch (error) {
        for (const call of calls) call.reject(error);
      }
      for (const key of keys) keysUnderWay.delete(key);
      isBlocked = false;
    }
    runs -= 1;
    if (runs > 0) return;
    for (const resolve of whenIdle) resolve();
    whenIdle = [];
  }

  function takeCalls(): Call<Item, Result>[] {
    const calls: Call<Item, Result>[] = [];
    const blocked: Call<Item, Result>[] = [];
    const blockedKeys = new Set<string>();
    const isFree = (key: string) => !keysUnderWay.has(key) && !blockedKeys.has(key);
    let count = 0;
    let end = 0;
    for (; end < queue.length && blocked.length < maxBlocked; end += 1) {
      const call = queue[end]!;
      if (count > 0 && count + call.items.length > maxBatch) break;
      if (call.keys.every(isFree)) {
        calls.push(call);
        count += call.items.length;
      } else {
        blocked.push(call);
        for (const key of call.keys) blockedKeys.add(key);
      }
    }
    queue = [...blocked, ...queue.slice(end)];
    waiting -= count;
    isBlocked = calls.length === 0 && blocked.length > 0;
    return calls;
  }

  function submit(items: readonly Item[]): Promise<Result[]> {
    const now = clock.elapsed();
    const oldest = queue[0];
    if (waiting + items.length > maxWaiting && waiting > 0) return Promise.reject(new BatcherFull("the queue is full"));
    if (oldest !== undefined && now - oldest.since > maxWaitMs) {
      return Promise.reject(new BatcherFull("the oldest item has waited too long"));
    }
    return new Promise((resolve, reject) => {
      queue.push({ items, keys: keyOf === null ? [] : items.map(keyOf), since: now, resolve, reject });
      waiting += items.length;
      if (runs >= maxRuns || isBlocked) return;
      runs += 1;
      // Items of the same turn of the event loop share the run.
      setImmediate(runAll);
    });
  }

  return {
    submit,
    submitOne: async (item) => (await submit([item]))[0]!,
    get waiting() {
      return waiting;
    },
    idle() {
      return runs > 0 ? new Promise((resolve) => whenIdle.push(resolve)) : Promise.resolve();
    },
  };
}
