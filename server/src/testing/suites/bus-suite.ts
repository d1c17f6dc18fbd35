/**
 * What every engine of the bus promises: `busSuite({...})` in `<engine>-bus.test.ts`. An engine that fails one of
 * these would lose, reorder or hold back messages.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Bus } from "../../bus/bus.ts";
import { type Clock, systemClock } from "../../lib/clock.ts";
import { transaction } from "../../lib/postgres.ts";
import { until } from "../until.ts";
import {
  collect,
  numbered,
  type OpenHarness,
  partitions,
  publish,
  spread,
  topic,
  upTo,
  valuesOf,
} from "./bus-harness.ts";
import { busSharingSuite } from "./bus-sharing-suite.ts";

export function busSuite(openHarness: OpenHarness): void {
  test("records of a transaction are visible once it commits, and never when it rolls back", async () => {
    await using harness = await openHarness();
    await using bus = await harness.open();
    const seen = collect(bus, "all");
    const failing = transaction(harness.pool, async (tx) => {
      await bus.publish(tx, topic, numbered("a", 1, 5));
      throw new Error("rolled back on purpose");
    });
    await assert.rejects(failing, /on purpose/);
    await publish(harness, bus, numbered("a", 6, 3));
    await until("the committed records are read", () => seen.length >= 3);
    assert.deepEqual(valuesOf(seen), [6, 7, 8]);
  });

  test("the records of a key are in the order of their commits, with offsets without gaps", async () => {
    await using harness = await openHarness();
    await using bus = await harness.open();
    const seen = collect(bus, "all");
    for (let from = 1; from <= 100; from += 10) {
      const records = ["a", "b", "c", "d", "e"].flatMap((key) => numbered(key, from, 10));
      await publish(harness, bus, records);
    }
    await until("all records are read", () => seen.length >= 500);
    for (const [, group] of Map.groupBy(seen, (record) => record.key)) {
      assert.deepEqual(valuesOf(group), upTo(100));
    }
    for (const [, group] of Map.groupBy(seen, (record) => record.partition)) {
      const first = group[0]!.offset;
      assert.deepEqual(
        group.map((record) => record.offset),
        group.map((_, index) => first + index),
      );
    }
    assert.ok(seen.every((record) => record.partition === bus.partitionOf(record.key)));
  });

  test("records are handed over in batches of about the requested size, one batch at a time", async () => {
    await using harness = await openHarness();
    await using bus = await harness.open();
    for (let from = 1; from <= 400; from += 20) await publish(harness, bus, spread(from, 20));
    const sizes: number[] = [];
    let isHandling = false;
    bus.subscribe(topic, "all", {
      maxBatch: 50,
      async handle(records) {
        assert.equal(isHandling, false);
        isHandling = true;
        await new Promise(setImmediate);
        sizes.push(records.length);
        isHandling = false;
      },
    });
    await until("all records are read", () => sizes.reduce((sum, size) => sum + size, 0) >= 400);
    assert.ok(Math.max(...sizes) > 20 && Math.max(...sizes) <= 50 + 20, `the batches have ${sizes.join(", ")} records`);
  });

  // Once receiving waited for the slowest channel account of each batch.
  test("partitions that are handled separately continue while another is slow, each in order", async () => {
    await using harness = await openHarness();
    await using bus = await harness.open();
    const slow = bus.partitionOf("key 1");
    const hold = Promise.withResolvers<void>();
    const under = new Set<number>();
    const seen = new Map<number, number[]>();
    let most = 0;
    const subscription = bus.subscribe<number>(topic, "all", {
      maxBatch: 100,
      partitionsAtOnce: 3,
      async handle(records) {
        const partition = records[0]!.partition;
        assert.ok(records.every((record) => record.partition === partition));
        assert.ok(!under.has(partition), "never twice at once for a partition");
        under.add(partition);
        most = Math.max(most, under.size);
        if (partition === slow) await hold.promise;
        await new Promise(setImmediate);
        seen.set(partition, [...(seen.get(partition) ?? []), ...records.map(({ offset }) => offset)]);
        under.delete(partition);
      },
    });
    let published = 0;
    let ofSlow = 0;
    const handled = () => [...seen.values()].reduce((sum, { length }) => sum + length, 0);
    for (let round = 0; round < 5; round += 1) {
      const records = spread(1, 40);
      await publish(harness, bus, records);
      published += records.length;
      ofSlow += records.filter(({ key }) => bus.partitionOf(key) === slow).length;
      await until("all others are handled", () => handled() === published - ofSlow);
    }
    assert.ok(most > 1 && most <= 3, `${most} at once`);
    assert.equal(seen.has(slow), false);
    const closed = subscription.close();
    hold.resolve();
    await closed;
    assert.ok(seen.get(slow)!.length > 0, "closing waits for what is under way");
    for (const offsets of seen.values())
      assert.deepEqual(
        offsets,
        offsets.toSorted((a, b) => a - b),
      );
    // What was handled is not read again.
    const rest = collect(bus, "all");
    await until("the slow one is handled", () => handled() + rest.length >= published);
    assert.ok(rest.every(({ partition }) => partition === slow));
  });

  test("a failed call does not stop other partitions, and its records are retried", async () => {
    await using harness = await openHarness();
    await using bus = await harness.open();
    const broken = bus.partitionOf("key 1");
    let failures = 0;
    const seen: unknown[] = [];
    bus.subscribe<number>(topic, "all", {
      maxBatch: 100,
      partitionsAtOnce: 2,
      async handle(records) {
        if (records[0]!.partition === broken) failures += 1;
        if (records[0]!.partition === broken && failures <= 2) throw new Error("fails twice");
        seen.push(...valuesOf(records));
      },
    });
    await publish(harness, bus, spread(1, 40));
    await until("all are handled", () => seen.length === 40);
    assert.deepEqual(
      seen.toSorted((a, b) => Number(a) - Number(b)),
      upTo(40),
    );
  });

  test("records whose handler failed are retried one by one and in order", async () => {
    await using harness = await openHarness();
    await using bus = await harness.open();
    await publish(harness, bus, numbered("a", 1, 5));
    const calls: unknown[][] = [];
    bus.subscribe(topic, "all", {
      maxBatch: 100,
      async handle(records) {
        calls.push(valuesOf(records));
        if (calls.length === 1) throw new Error("fails once");
      },
    });
    await until("the records are read again", () => calls.length >= 6);
    assert.deepEqual(calls, [[1, 2, 3, 4, 5], [1], [2], [3], [4], [5]]);
    await until("no record counts as unread", async () => (await bus.lag(topic, "all")) === 0);
  });

  // One message that cannot be handled must not stop all conversations behind it.
  test("a record that fails by its own fault is given up after four tries, and later records are handled", async () => {
    await using harness = await openHarness();
    await using bus = await harness.open();
    await publish(harness, bus, numbered("a", 1, 5));
    const handled: unknown[] = [];
    const givenUp: unknown[] = [];
    let tries = 0;
    bus.subscribe<number>(topic, "all", {
      maxBatch: 100,
      async handle(records) {
        if (records.length === 1 && records[0]!.value === 3) tries += 1;
        if (records.some((record) => record.value === 3)) throw new Error("three is not for us");
        handled.push(...valuesOf(records));
      },
      giveUp: async ({ value }) => void givenUp.push(value),
    });
    await until("the records behind it are handled", () => handled.length >= 4);
    assert.deepEqual([handled, givenUp, tries], [[1, 2, 4, 5], [3], 4]);
  });

  // Once a record that failed because of a full disk was never handled again.
  test("a record that fails for a temporary reason is retried in order, and holds up no other partition", async () => {
    await using harness = await openHarness();
    await using bus = await harness.open();
    const other = ["b", "c", "d", "e"].find((key) => bus.partitionOf(key) !== bus.partitionOf("a"))!;
    await publish(harness, bus, [...numbered("a", 1, 3), ...numbered(other, 11, 3)]);
    const handled: { key: string; value: number }[] = [];
    const givenUp: unknown[] = [];
    let tries = 0;
    let isFull = true;
    bus.subscribe<number>(topic, "all", {
      maxBatch: 100,
      async handle(records) {
        if (isFull && records.some(({ key, value }) => key === "a" && value === 2)) {
          tries += 1;
          throw Object.assign(new Error("no space left on device"), { code: "ENOSPC" });
        }
        handled.push(...records);
      },
      giveUp: async ({ value }) => void givenUp.push(value),
    });
    const of = (key: string) => handled.filter((record) => record.key === key).map(({ value }) => value);
    await until("the record is tried 6 times", () => tries >= 6);
    assert.deepEqual([of("a"), of(other)], [[1], [11, 12, 13]]);
    isFull = false;
    await until("the partition continues", () => of("a").length >= 3);
    assert.deepEqual([of("a"), givenUp], [[1, 2, 3], []]);
  });

  test("every group gets all records, whenever it subscribed", async () => {
    await using harness = await openHarness();
    await using bus = await harness.open();
    await using other = await harness.open();
    const one = collect(bus, "one");
    const two = collect(other, "two");
    await publish(harness, bus, numbered("a", 1, 10));
    const three = collect(bus, "three");
    await until("each group reads all records", () => [one, two, three].every(({ length }) => length >= 10));
    for (const seen of [one, two, three]) assert.deepEqual(valuesOf(seen), upTo(10));
  });

  test("lag counts what a group has not consumed yet", async () => {
    await using harness = await openHarness();
    await using bus = await harness.open();
    await publish(harness, bus, spread(1, 30));
    assert.equal(await bus.lag(topic, "all"), 30);
    const seen = collect(bus, "all");
    await until("the lag is 0", async () => (await bus.lag(topic, "all")) === 0);
    assert.equal(seen.length, 30);
  });

  test("large batches in one partition hold up no other partition", async () => {
    await using harness = await openHarness();
    await using bus = await harness.open();
    const keys = spread(0, 200).map(({ key }) => key);
    const [first, ...others] = [...Map.groupBy(keys, bus.partitionOf)].toSorted(([a], [b]) => a - b);
    for (let i = 0; i < 20; i += 1) await publish(harness, bus, numbered(first![1][0]!, 100 * i, 100));
    for (const [, [key]] of others) await publish(harness, bus, numbered(key!, -1, 1));
    const seen = collect(bus, "all", { maxBatch: 100 });
    await until("all records are read", () => seen.length >= 2_000 + others.length);
    const places = seen.flatMap(({ value }, index) => (value === -1 ? [index] : []));
    assert.ok(places.at(-1)! < 1_800, `the others were at ${places.join(", ")}`);
  });

  test("progress gives the group's position in each partition, and its holder", async () => {
    await using harness = await openHarness();
    await using bus = await harness.open({ leaseMs: 1_000 });
    await using other = await harness.open({ leaseMs: 1_000 });
    const of = async (by: Bus) => {
      const places = await by.progress(topic, "all");
      return { holders: new Set(places.map(({ holder }) => holder)), waiting: waitingIn(places), places };
    };
    const waitingIn = (places: readonly { waiting: number }[]) => places.reduce((sum, { waiting }) => sum + waiting, 0);
    await publish(harness, bus, spread(1, 30));
    const before = await of(bus);
    assert.deepEqual([before.holders, before.waiting], [new Set(["none"]), 30]);
    assert.deepEqual(
      before.places.map(({ partition }) => partition),
      upTo(partitions).map((place) => place - 1),
    );

    const gate = Promise.withResolvers<void>();
    const preparing = Promise.withResolvers<void>();
    const subscription = bus.subscribe(topic, "all", {
      maxBatch: 100,
      onAssigned: () => preparing.promise,
      handle: () => gate.promise,
    });
    await until("it owns all partitions", () => subscription.owned().length === partitions);
    assert.ok((await of(bus)).places.every(({ isPrepared }) => !isPrepared));
    preparing.resolve();
    await until("all partitions are prepared", async () =>
      (await of(bus)).places.every(({ isPrepared }) => isPrepared),
    );
    const during = await of(bus);
    assert.deepEqual([during.holders, during.waiting], [new Set(["here"]), 30]);
    assert.deepEqual((await of(other)).holders, new Set(["elsewhere"]));
    gate.resolve();
    await until("nothing waits", async () => (await of(other)).waiting === 0);
    const after = (await of(bus)).places.reduce((sum, { consumed }) => sum + consumed, 0);
    assert.equal(after, 30);
    await subscription.close();
    assert.deepEqual((await of(bus)).holders, new Set(["none"]));
  });

  test("closing waits for the call under way, and its records are not repeated", async () => {
    await using harness = await openHarness();
    await using bus = await harness.open();
    const gate = Promise.withResolvers<void>();
    let isHandling = false;
    const first = bus.subscribe(topic, "all", {
      maxBatch: 100,
      async handle() {
        isHandling = true;
        await gate.promise;
      },
    });
    await publish(harness, bus, numbered("a", 1, 3));
    await until("a record is being handled", () => isHandling);
    let isClosed = false;
    const closing = first.close().then(() => {
      isClosed = true;
    });
    await new Promise(setImmediate);
    assert.equal(isClosed, false);
    gate.resolve();
    await closing;
    await first.close();
    assert.equal(await bus.lag(topic, "all"), 0);
  });

  // Polling would cost every message half a second.
  test("a published record is handled at once, in this process and in another", async () => {
    await using harness = await openHarness();
    const clock = withoutPolling();
    await using bus = await harness.open({ clock, leaseMs: 1_000 });
    await using other = await harness.open({ clock, leaseMs: 1_000 });
    const here = collect(bus, "here");
    const there = collect(other, "there");
    for (let i = 1; i <= 20; i += 1) {
      await publish(harness, bus, numbered(`key ${i}`, i, 1));
      await until(`record ${i} wakes both consumers`, () => here.length >= i && there.length >= i);
    }
  });

  // A consumer whose lease has ended reads nothing, and nothing wakes it for the records that it did not read.
  test("a record published while a process was suspended is handled as soon as its lease is renewed", async () => {
    await using harness = await openHarness();
    let stoodStillMs = 0;
    const clock = withoutPolling();
    const { elapsed } = clock;
    await using bus = await harness.open({
      clock: { ...clock, elapsed: () => elapsed() + stoodStillMs },
      leaseMs: 1_000,
    });
    const seen = collect(bus, "all");
    for (let i = 1; i <= 10; i += 1) {
      stoodStillMs += 5_000;
      await publish(harness, bus, numbered(`key ${i}`, i, 1));
      await until(`record ${i} is read`, () => seen.length >= i);
    }
  });

  // A publisher knows of other consumers from its last renewal, so it does not wake newer ones.
  test("a record published before its process knew of a new consumer reaches it with the next renewal", async () => {
    await using harness = await openHarness();
    const options = { clock: withoutPolling(), leaseMs: 3_000 };
    await using bus = await harness.open(options);
    const here = collect(bus, "here");
    await publish(harness, bus, numbered("a", 1, 1));
    await until("the old consumer reads a record", () => here.length >= 1);
    await using other = await harness.open(options);
    const there = collect(other, "there");
    await until("the new consumer polls", () => there.length >= 1);
    await publish(harness, bus, numbered("a", 2, 1));
    await until("the new consumer is woken", () => there.length >= 2);
  });

  test("an unknown topic is refused", async () => {
    await using harness = await openHarness();
    await using bus = await harness.open();
    await assert.rejects(bus.publish(harness.pool, "elsewhere", numbered("a", 1, 1)));
  });

  busSharingSuite(openHarness);
}

/** A clock whose timers of a second or longer never fire: what happens is caused by a notification. */
function withoutPolling(): Clock {
  return {
    ...systemClock,
    after: (delayMs, callback) => (delayMs < 1_000 ? systemClock.after(delayMs, callback) : () => {}),
  };
}
