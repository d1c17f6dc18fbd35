import assert from "node:assert/strict";
import { test } from "node:test";
import { repeat, repeatWhenWoken } from "./repeat.ts";

/** Time passes only when the test says so. */
function heldClock() {
  let timers: { dueMs: number; callback: () => void }[] = [];
  let nowMs = 0;
  return {
    now: () => nowMs,
    elapsed: () => nowMs,
    after(delayMs: number, callback: () => void) {
      const timer = { dueMs: nowMs + delayMs, callback };
      timers.push(timer);
      return () => {
        timers = timers.filter((other) => other !== timer);
      };
    },
    async pass(durationMs: number) {
      nowMs += durationMs;
      const due = timers.filter(({ dueMs }) => dueMs <= nowMs);
      timers = timers.filter(({ dueMs }) => dueMs > nowMs);
      for (const { callback } of due) callback();
      await settle();
    },
    timers: () => timers.length,
  };
}

const settle = () => new Promise((resolve) => setImmediate(resolve));

const fail = (error: unknown) => assert.fail(String(error));

/** Runs end when the test says so. */
function heldWork() {
  const ends: ((error?: Error) => void)[] = [];
  const work = () =>
    new Promise<void>((resolve, reject) => {
      ends.push((error) => (error ? reject(error) : resolve()));
    });
  return { work, ends };
}

test("runs at the interval, and waits for it after each run", async () => {
  const clock = heldClock();
  const { work, ends } = heldWork();
  repeat(clock, 100, work, fail);
  await clock.pass(99);
  assert.equal(ends.length, 0);
  await clock.pass(1);
  assert.equal(ends.length, 1);
  await clock.pass(500);
  assert.equal(ends.length, 1, "a second run beside the first");
  ends[0]!();
  await settle();
  await clock.pass(99);
  assert.equal(ends.length, 1);
  await clock.pass(1);
  assert.equal(ends.length, 2);
});

test("wakes that arrive during a run share the next one, and postpone the interval", async () => {
  const clock = heldClock();
  const { work, ends } = heldWork();
  const repeated = repeat(clock, 100, work, fail);
  repeated.wake();
  assert.equal(ends.length, 1, "a wake starts at once");
  for (let i = 0; i < 10; i += 1) repeated.wake();
  ends[0]!();
  await settle();
  assert.equal(ends.length, 2);
  ends[1]!();
  await settle();
  assert.equal(ends.length, 2);
  assert.equal(clock.timers(), 1);
});

test("reports a failure, and runs again after 10 s at the latest", async () => {
  const clock = heldClock();
  const { work, ends } = heldWork();
  const failures: unknown[] = [];
  const repeated = repeat(clock, 60_000, work, (error) => failures.push(error));
  repeated.wake();
  ends[0]!(new Error("no database"));
  await settle();
  assert.match(String(failures), /no database/);
  await clock.pass(10_000);
  assert.equal(ends.length, 2);
  ends[1]!();
  await settle();
  await clock.pass(10_000);
  assert.equal(ends.length, 2, "after a success the interval holds again");
});

test("waits longer than the interval after a failure where that is asked for", async () => {
  const clock = heldClock();
  const { work, ends } = heldWork();
  repeat(clock, 100, work, () => {}, 5_000);
  await clock.pass(100);
  ends[0]!(new Error("no database"));
  await settle();
  await clock.pass(4_999);
  assert.equal(ends.length, 1);
  await clock.pass(1);
  assert.equal(ends.length, 2);
  ends[1]!();
  await settle();
  await clock.pass(100);
  assert.equal(ends.length, 3);
});

test("work that was woken and failed runs again after the wait for failures, which a wake does not shorten", async () => {
  const clock = heldClock();
  const { work, ends } = heldWork();
  const failures: unknown[] = [];
  const repeated = repeatWhenWoken(clock, 5, work, (error) => failures.push(error), 500);
  repeated.wake();
  ends[0]!(new Error("no server"));
  await settle();
  assert.match(String(failures), /no server/);
  repeated.wake();
  await clock.pass(499);
  assert.equal(ends.length, 1);
  await clock.pass(1);
  assert.equal(ends.length, 2);
  ends[1]!();
  await settle();
  await clock.pass(500);
  assert.equal(ends.length, 2);
});

test("close runs failing work once more at most", async () => {
  let runs = 0;
  const fails = async () => {
    runs += 1;
    throw new Error("no server");
  };
  const repeated = repeatWhenWoken(heldClock(), 5, fails, () => {}, 500);
  repeated.wake();
  await settle();
  await repeated.close();
  assert.equal(runs, 2);
});

test("pauses between runs that were woken", async () => {
  const clock = heldClock();
  let runs = 0;
  const repeated = repeatWhenWoken(clock, 5, async () => {
    runs += 1;
  });
  repeated.wake();
  assert.equal(runs, 1);
  for (let i = 0; i < 100; i += 1) repeated.wake();
  await settle();
  assert.equal(runs, 1);
  await clock.pass(5);
  assert.equal(runs, 2);
  await clock.pass(5);
  assert.equal(runs, 2);
  repeated.wake();
  assert.equal(runs, 3);
});

test("work that wakes itself runs again after the pause", async () => {
  const clock = heldClock();
  let runs = 0;
  const repeated = repeatWhenWoken(clock, 5, async () => {
    runs += 1;
    repeated.wake();
  });
  repeated.wake();
  assert.equal(runs, 1);
  await settle();
  await clock.pass(5);
  assert.equal(runs, 2);
});

test("close runs what was woken without a pause, and nothing after it", async () => {
  const clock = heldClock();
  let runs = 0;
  const work = async () => {
    runs += 1;
  };
  const woken = repeatWhenWoken(clock, 5, work);
  woken.wake();
  woken.wake();
  await woken.close();
  await woken.close();
  assert.equal(runs, 2);
  woken.wake();
  const timed = repeat(clock, 100, work, fail);
  await timed.close();
  await clock.pass(100);
  assert.equal(runs, 2);
});
