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
  since: number;
  resolve: (results: Result[]) => void;
  reject: (error: unknown) => void;
}

/** Runs are spaced out once one has taken this many: each costs a round trip. */
const severalItems = 4;

export function openBatcher<Item, Result>(options: BatcherOptions<Item, Result>): Batcher<Item, Result> {
  const { maxBatch, maxWaiting, maxWaitMs = Number.POSITIVE_INFINITY, maxRuns = 1, paceMs = 0, clock, run } = options;
  let queue: Call<Item, Result>[] = [];
  let waiting = 0;
  let runs = 0;
  let whenIdle: (() => void)[] = [];
  let lastStart = Number.NEGATIVE_INFINITY;
  let lastSize = 0;

  async function runAll(): Promise<void> {
    while (queue.length > 0) {
      if (lastSize >= severalItems && waiting < maxBatch) await pause(clock, lastStart + paceMs - clock.elapsed());
      lastStart = clock.elapsed();
      lastSize = Math.min(waiting, maxBatch);
      const calls = takeCalls();
      try {
        const results = await run(calls.length === 1 ? [...calls[0]!.items] : calls.flatMap((call) => call.items));
        let start = 0;
        for (const call of calls) {
          call.resolve(results.slice(start, start + call.items.length));
          start += call.items.length;
        }
      } catch (error) {
        for (const call of calls) call.reject(error);
      }
    }
    runs -= 1;
    if (runs > 0) return;
    for (const resolve of whenIdle) resolve();
    whenIdle = [];
  }

  function takeCalls(): Call<Item, Result>[] {
    let count = 0;
    let end = 0;
    while (end < queue.length && (end === 0 || count + queue[end]!.items.length <= maxBatch)) {
      count += queue[end]!.items.length;
      end += 1;
    }
    const calls = queue.slice(0, end);
    queue = end === queue.length ? [] : queue.slice(end);
    waiting -= count;
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
      queue.push({ items, since: now, resolve, reject });
      waiting += items.length;
      if (runs >= maxRuns) return;
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
