import assert from "node:assert/strict";
import { test } from "node:test";
import { BatcherFull, type BatcherOptions, openBatcher } from "./batcher.ts";
import { systemClock } from "./clock.ts";

/** Runs end when the test lets them. */
function open(more: Partial<BatcherOptions<number, string>> = {}) {
  const runs: { items: number[]; end(error?: Error): void }[] = [];
  const batcher = openBatcher<number, string>({
    maxBatch: 10,
    maxWaiting: 20,
    maxWaitMs: 1_000,
    clock: systemClock,
    run: (items) =>
      new Promise((resolve, reject) => {
        runs.push({ items, end: (error) => (error ? reject(error) : resolve(items.map((item) => `did ${item}`))) });
      }),
    ...more,
  });
  return { runs, batcher };
}

const turn = () => new Promise(setImmediate);

test("a lone item does not wait, and items that arrive meanwhile share the next run", async () => {
  const { runs, batcher } = open();
  const first = batcher.submit([1]);
  await turn();
  assert.deepEqual(runs[0]!.items, [1]);
  const others = [batcher.submit([2]), batcher.submit([3, 4]), batcher.submit([5])];
  await turn();
  assert.equal(runs.length, 1);
  assert.equal(batcher.waiting, 4);
  runs[0]!.end();
  assert.deepEqual(await first, ["did 1"]);
  await turn();
  assert.deepEqual(runs[1]!.items, [2, 3, 4, 5]);
  runs[1]!.end();
  assert.deepEqual(await Promise.all(others), [["did 2"], ["did 3", "did 4"], ["did 5"]]);
});

test("items of one turn of the event loop share the first run", async () => {
  const { runs, batcher } = open();
  void batcher.submit([1]);
  void batcher.submit([2]);
  await turn();
  assert.deepEqual(runs[0]!.items, [1, 2]);
});

test("a run takes at most its limit, but never splits a call", async () => {
  const { runs, batcher } = open({ maxBatch: 3 });
  const calls = [[1, 2], [3, 4], [5], [6, 7, 8, 9, 10]].map((items) => batcher.submit(items));
  for (let i = 0; i < 3; i += 1) {
    await turn();
    runs[i]!.end();
    await turn();
  }
  await Promise.all(calls);
  assert.deepEqual(
    runs.map((run) => run.items),
    [
      [1, 2],
      [3, 4, 5],
      [6, 7, 8, 9, 10],
    ],
  );
});

test("a failed run fails its own callers only", async () => {
  const { runs, batcher } = open();
  const failing = batcher.submit([1]);
  await turn();
  const fine = batcher.submit([2]);
  runs[0]!.end(new Error("broken"));
  await assert.rejects(failing, /broken/);
  await turn();
  runs[1]!.end();
  assert.deepEqual(await fine, ["did 2"]);
});

test("a full queue refuses a whole call, and an empty one takes a call of any size", async () => {
  const { runs, batcher } = open({ maxWaiting: 4 });
  void batcher.submit([0]);
  await turn();
  const large = batcher.submit([1, 2, 3, 4, 5, 6]);
  await assert.rejects(batcher.submit([7]), BatcherFull);
  assert.equal(batcher.waiting, 6);
  runs[0]!.end();
  await turn();
  runs[1]!.end();
  assert.equal((await large).length, 6);
});

test("refuses more items while the oldest has waited too long", async () => {
  let now = 0;
  const { runs, batcher } = open({ clock: { ...systemClock, elapsed: () => now } });
  void batcher.submit([1]);
  await turn();
  const waiting = batcher.submit([2]);
  now = 1_000;
  const inTime = batcher.submit([3]);
  now = 1_001;
  await assert.rejects(batcher.submit([4]), BatcherFull);
  runs[0]!.end();
  await turn();
  runs[1]!.end();
  assert.deepEqual(await Promise.all([waiting, inTime]), [["did 2"], ["did 3"]]);
});

test("idle resolves when all runs have ended", async () => {
  const { runs, batcher } = open();
  await batcher.idle();
  void batcher.submit([1]);
  let isIdle = false;
  const idle = batcher.idle().then(() => {
    isIdle = true;
  });
  await turn();
  void batcher.submit([2]);
  runs[0]!.end();
  await turn();
  assert.equal(isIdle, false);
  runs[1]!.end();
  await idle;
});

test("a run that hangs does not delay the items behind it while another run may start", async () => {
  const { runs, batcher } = open({ maxRuns: 2 });
  const first = batcher.submitOne(1);
  await turn();
  const second = batcher.submitOne(2);
  await turn();
  const later = [3, 4, 5].map((item) => batcher.submitOne(item));
  await turn();
  assert.equal(runs.length, 2);
  runs[1]!.end();
  assert.equal(await second, "did 2");
  await turn();
  assert.deepEqual(runs[2]!.items, [3, 4, 5]);
  runs[2]!.end();
  assert.deepEqual(await Promise.all(later), ["did 3", "did 4", "did 5"]);
  const idle = batcher.idle();
  runs[0]!.end();
  assert.equal(await first, "did 1");
  await idle;
  assert.equal(runs.length, 3);
});

const letterOf = (item: number) => String(item % 10);

test("items of one key wait for its run, keep their order, and do not delay other keys", async () => {
  const { runs, batcher } = open({ maxRuns: 2, keyOf: letterOf });
  const first = batcher.submit([1, 2]);
  await turn();
  const sameKey = batcher.submit([11, 3]);
  const behind = batcher.submitOne(13);
  const other = batcher.submitOne(4);
  await turn();
  assert.deepEqual(runs[1]!.items, [4]);
  runs[1]!.end();
  assert.equal(await other, "did 4");
  await turn();
  assert.equal(runs.length, 2);
  // Everything waits for the first run: nothing new starts until it ends, and then all of it does.
  const late = batcher.submitOne(21);
  await turn();
  assert.equal(runs.length, 2);
  runs[0]!.end();
  assert.deepEqual(await first, ["did 1", "did 2"]);
  await turn();
  assert.deepEqual(runs[2]!.items, [11, 3, 13, 21]);
  runs[2]!.end();
  await Promise.all([sameKey, behind, late]);
  await batcher.idle();
});

test("random items with keys: none runs beside another of its key or before an earlier one, and none is left", async () => {
  for (let round = 0; round < 50; round += 1) {
    const { runs, batcher } = open({ maxBatch: 4, maxRuns: 3, maxWaiting: 1_000, keyOf: letterOf });
    const started: number[] = [];
    let ended = 0;
    const underWay = new Map<(typeof runs)[number], string[]>();
    const look = () => {
      for (const one of runs.slice(underWay.size + ended)) {
        const keys = one.items.map(letterOf);
        for (const other of underWay.values())
          for (const key of keys) assert.ok(!other.includes(key), `${key} runs twice`);
        underWay.set(one, keys);
        started.push(...one.items);
      }
    };
    const submitted = Array.from({ length: 40 }, (_, index) => index * 10 + Math.floor(Math.random() * 5));
    const results: Promise<string>[] = [];
    for (const item of submitted) {
      results.push(batcher.submitOne(item));
      if (Math.random() < 0.5) await turn();
      look();
      if (Math.random() < 0.3) endOne();
    }
    function endOne() {
      const [one] = [...underWay.keys()].sort(() => Math.random() - 0.5);
      if (one === undefined) return;
      underWay.delete(one);
      ended += 1;
      one.end();
    }
    while (started.length < submitted.length || underWay.size > 0) {
      endOne();
      await turn();
      look();
    }
    await Promise.all(results);
    for (const key of ["0", "1", "2", "3", "4"]) {
      const of = started.filter((item) => letterOf(item) === key);
      assert.deepEqual(
        of,
        of.toSorted((a, b) => a - b),
      );
    }
    await batcher.idle();
  }
});
