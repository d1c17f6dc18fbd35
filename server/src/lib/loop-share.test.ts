import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { maxJobs, openLoopShare } from "./loop-share.ts";

test("jobs run in order, and in each turn as many as fit into the share", async () => {
  let nowMs = 0;
  const share = openLoopShare({ elapsed: () => nowMs }, 5);
  const done: number[] = [];
  const all = Array.from({ length: 7 }, (_, index) =>
    share.run(() => {
      nowMs += 2;
      done.push(index);
      return index * 10;
    }),
  );
  const turns: number[] = [done.length];
  while (done.length < 7) {
    await setImmediate();
    turns.push(done.length);
  }
  assert.deepEqual(turns, [0, 3, 6, 7]);
  assert.deepEqual(await Promise.all(all), [0, 10, 20, 30, 40, 50, 60]);
});

test("a turn runs a bounded number of jobs, even if they take no time", async () => {
  const share = openLoopShare({ elapsed: () => 0 }, 5);
  let done = 0;
  const all = Array.from({ length: maxJobs + 1 }, () =>
    share.run(() => {
      done += 1;
    }),
  );
  await setImmediate();
  assert.equal(done, maxJobs);
  await Promise.all(all);
});

test("a job that another job queues waits for the next turn, and a job that throws does not stop others", async () => {
  const share = openLoopShare({ elapsed: () => 0 }, 5);
  const failing = assert.rejects(
    share.run(() => {
      throw new Error("broken");
    }),
    /broken/,
  );
  let inner: Promise<string> | undefined;
  await share.run(() => {
    inner = share.run(() => "inner");
  });
  await failing;
  assert.equal(await inner, "inner");
});
