import { type Clock, pause } from "./clock.ts";

/** Group commit: what arrives while a run is under way shares the next one. A lone item waits for nobody. */
export interface Batcher<Item, Result> {
  /** Results in the items' order. The items of one call stay together and in order. Throws `BatcherFull`. */
  submit(items: readonly Item[]): Promise<Result[]>;
  /** Items waiting, not counting the run under way. */
  readonly waiting: number;
  /** Resolves when nothing waits and nothing runs. */
  idle(): Promise<void>;
}

export interface BatcherOptions<Item, Result> {
  /** Items to a run, at the most, unless a single call brings more. */
  maxBatch: number;
  /** Items that may wait. */
  maxWaiting: number;
  /** How long the oldest may have waited when another is let in, in milliseconds. */
  maxWaitMs: number;
  /**
   * While several items come at a time, runs start at least this far apart, in milliseconds, so that each takes more of
   * them; 0 starts the next as soon as the one before has ended.
   */
  paceMs?: number;
  clock: Clock;
  /** One result for each item. Throwing fails every item of the run. */
  run: (items: Item[]) => Promise<Result[]>;
}

/** The queue is full, or its oldest item has waited too long. Nothing of the call was taken. */
export class BatcherFull extends Error {
  override readonly name = "BatcherFull";
}

interface Call<Item, Result> {
  items: readonly Item[];
  since: number;
  resolve: (results: Result[]) => void;
  reject: (error: unknown) => void;
}

/** Runs are spaced out once one has taken this many: they would come anyway, and each costs a round trip. */
const severalItems = 4;

export function openBatcher<Item, Result>(options: BatcherOptions<Item, Result>): Batcher<Item, Result> {
  const { maxBatch, maxWaiting, maxWaitMs, paceMs = 0, clock, run } = options;
  let queue: Call<Item, Result>[] = [];
  let waiting = 0;
  let isRunning = false;
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
    isRunning = false;
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

  return {
    submit(items) {
      const now = clock.elapsed();
      const oldest = queue[0];
      if (waiting + items.length > maxWaiting && waiting > 0)
        return Promise.reject(new BatcherFull("the queue is full"));
      if (oldest !== undefined && now - oldest.since > maxWaitMs) {
        return Promise.reject(new BatcherFull("the oldest has waited too long"));
      }
      return new Promise((resolve, reject) => {
        queue.push({ items, since: now, resolve, reject });
        waiting += items.length;
        if (isRunning) return;
        isRunning = true;
        // What else this turn of the event loop brings shares the first run.
        setImmediate(runAll);
      });
    },
    get waiting() {
      return waiting;
    },
    idle() {
      return isRunning ? new Promise((resolve) => whenIdle.push(resolve)) : Promise.resolve();
    },
  };
}
