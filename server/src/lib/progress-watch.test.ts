import assert from "node:assert/strict";
import { test } from "node:test";
import { checkEveryMs, openProgressWatch, type Place, stillMs } from "./progress-watch.ts";
import { openTroubles } from "./troubles.ts";

const checksUntilStill = stillMs / checkEveryMs;
const settle = () => new Promise((resolve) => setImmediate(resolve));

/** A watch whose checks and places the test controls. */
function openWatch(places: () => Promise<readonly Place[]>, extraMs = 0) {
  let now = 0;
  let timers: { at: number; call: () => void }[] = [];
  const clock = {
    now: () => now,
    elapsed: () => now,
    after(delayMs: number, call: () => void) {
      const timer = { at: now + delayMs, call };
      timers.push(timer);
      return () => {
        timers = timers.filter((one) => one !== timer);
      };
    },
  };
  const lines: string[] = [];
  const log = { info() {}, error() {}, warn: ({ err }: { err?: Error }) => void lines.push(String(err?.message)) };
  const troubles = openTroubles({ clock, log });
  const backlog = new Map<string, number>();
  const watch = openProgressWatch({ clock, troubles, backlog }, [{ name: "route things", extraMs, check: places }]);
  return {
    watch,
    backlog,
    lines,
    troubles: () => troubles.list().map(({ part, code, isMinor, isStalled }) => ({ part, code, isMinor, isStalled })),
    since: () => troubles.list()[0]?.since.getTime(),
    async check(count = 1) {
      for (let i = 0; i < count; i += 1) {
        now += checkEveryMs;
        for (const { call } of timers.filter(({ at }) => at <= now)) call();
        await settle();
        await settle();
      }
    },
    /** The process is suspended: time passes, and nothing runs. */
    sleep(ms: number) {
      now += ms;
    },
  };
}

const standstill = { part: "progress of route things", code: "NO_PROGRESS", isMinor: false, isStalled: true };

test("work that does not move for 30 s is reported by name, until it moves", async () => {
  let place: Place = { key: 3, mark: 7, waiting: 40 };
  const { check, troubles, lines, since, backlog } = openWatch(async () => [place]);
  await check(checksUntilStill);
  assert.deepEqual(troubles(), []);
  await check();
  assert.deepEqual(troubles(), [standstill]);
  assert.equal(since(), checkEveryMs, "since it was first seen there");
  assert.deepEqual(lines, ["route things: work waits at 3, and nothing has moved for 30 s."]);
  assert.deepEqual([...backlog], [["route things", 40]]);
  place = { ...place, mark: 8, waiting: 39 };
  await check();
  assert.deepEqual(troubles(), []);
  place = { ...place, mark: 8, waiting: 39 };
  await check(checksUntilStill);
  assert.deepEqual(troubles(), [standstill]);
  place = { ...place, waiting: 0 };
  await check();
  assert.deepEqual([troubles(), [...backlog]], [[], [["route things", 0]]]);
  // Time without work does not count.
  await check(checksUntilStill);
  place = { ...place, waiting: 1 };
  await check(checksUntilStill);
  assert.deepEqual(troubles(), []);
  await check();
  assert.deepEqual(troubles(), [standstill]);
});

// A burst fills the queue for minutes; operators would switch off an alarm that fires then.
test("a growing backlog is not reported as long as something moves", async () => {
  let waiting = 0;
  let mark = 0;
  const { check, troubles } = openWatch(async () => [
    { key: 0, mark, waiting },
    { key: 1, mark: 0, waiting: 0 },
  ]);
  for (let i = 0; i < 100; i += 1) {
    waiting += 10_000;
    if (i % checksUntilStill === 0) mark += 1;
    await check();
    assert.deepEqual(troubles(), []);
  }
});

test("a part that may take longer gets that time", async () => {
  const { check, troubles } = openWatch(async () => [{ key: 0, mark: 0, waiting: 1 }], 12_000);
  await check(checksUntilStill + 3);
  assert.deepEqual(troubles(), []);
  await check();
  assert.deepEqual(troubles(), [standstill]);
});

test("work that no process takes is reported as NO_CONSUMER", async () => {
  const { check, troubles } = openWatch(async () => [
    { key: 0, mark: 0, waiting: 1, isDeserted: true },
    { key: 1, mark: 5, waiting: 0 },
  ]);
  await check(checksUntilStill + 1);
  assert.deepEqual(troubles(), [{ ...standstill, code: "NO_CONSUMER" }]);
});

// A process that works must not refuse requests because of another one.
test("a standstill in another process makes this one unready only when the step moves in no process", async () => {
  let moves = 0;
  let areAllStill = false;
  const elsewhere: Place = { key: 0, mark: 0, waiting: 1, isElsewhere: true };
  const { check, troubles } = openWatch(async () => {
    if (!areAllStill) moves += 1;
    return [elsewhere, { key: 1, mark: moves, waiting: 9, isElsewhere: true }];
  });
  await check(checksUntilStill + 1);
  assert.deepEqual(troubles(), [{ ...standstill, isMinor: true }]);
  areAllStill = true;
  await check(checksUntilStill + 1);
  assert.deepEqual(troubles(), [standstill]);
});

test("a standstill in this process counts even if other places move", async () => {
  let moves = 0;
  const { check, troubles } = openWatch(async () => {
    moves += 1;
    return [
      { key: 0, mark: 0, waiting: 1 },
      { key: 1, mark: moves, waiting: 9 },
      { key: 2, mark: moves, waiting: 9, isElsewhere: true },
    ];
  });
  await check(checksUntilStill + 1);
  assert.deepEqual(troubles(), [standstill]);
});

test("time in which the watch could not check does not count", async () => {
  let isAway = false;
  const { check, sleep, troubles } = openWatch(async () => {
    if (isAway) throw new Error("the database is away");
    return [{ key: 0, mark: 0, waiting: 1 }];
  });
  await check(2);
  sleep(10 * stillMs);
  await check(checksUntilStill - 2);
  assert.deepEqual(troubles(), []);
  isAway = true;
  await check(20);
  assert.deepEqual(troubles(), []);
  isAway = false;
  await check(checksUntilStill);
  assert.deepEqual(troubles(), []);
  await check();
  assert.deepEqual(troubles(), [standstill]);
});
