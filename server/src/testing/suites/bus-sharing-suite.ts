/** The part of the bus suite that is about several processes, and about what breaks between them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { BusRecord } from "../../bus/bus.ts";
import { type Clock, systemClock } from "../../lib/clock.ts";
import { isRetryableDbError, transaction } from "../../lib/postgres.ts";
import { until } from "../until.ts";
import { collect, numbered, type OpenHarness, partitions, publish, spread, topic, valuesOf } from "./bus-harness.ts";

/** The lease of production: see `BUS_LEASE`. */
const leaseMs = 4_000;
const shortLeaseMs = 800;
/** No test waits until it ends. */
const endlessLeaseMs = 86_400_000;

export function busSharingSuite(openHarness: OpenHarness): void {
  test("two processes share the partitions evenly, and one that closes gives its own back", async () => {
    await using harness = await openHarness();
    // The lease does not end during the test, so that only partitions that are given back can be taken.
    const first = await harness.open({ leaseMs: endlessLeaseMs, clock: hastyClock(shortLeaseMs / 4) });
    await using second = await harness.open({ leaseMs: shortLeaseMs });
    const ofFirst = first.subscribe(topic, "all", nothing);
    await until("a single process owns all partitions", () => ofFirst.owned().length === partitions);
    const ofSecond = second.subscribe(topic, "all", nothing);
    await until("the second process owns half", () => ofSecond.owned().length === partitions / 2);
    await until("the first process owns half", () => ofFirst.owned().length === partitions / 2);
    assert.equal(new Set([...ofFirst.owned(), ...ofSecond.owned()]).size, partitions);

    await first[Symbol.asyncDispose]();
    await until("the second process owns all partitions", () => ofSecond.owned().length === partitions);
  });

  for (const [lease, name] of [
    [shortLeaseMs, "a short lease"],
    [leaseMs, "the default lease"],
  ] as const) {
    // A crashed process must not hold its conversations back for longer than people notice.
    test(`when a process is killed, another owns all within 5 s (${name})`, async () => {
      await using harness = await openHarness();
      await using bus = await harness.open({ leaseMs: lease });
      const seen = collect(bus, "all");
      const process = await harness.startProcess("all", { leaseMs: lease });
      await until("the process owns half", () => process.owned() === partitions / 2);
      process.kill();
      await publish(harness, bus, spread(1, 40));
      await until("the records of the dead process are read", () => seen.length >= 40);
    });
  }

  // A process that was paused wakes up and still assumes that it owns what another has taken over.
  test("an owner whose lease was lost cannot move the cursor", async () => {
    await using harness = await openHarness();
    const stopped = stoppableClock();
    const frozen = await harness.open({ leaseMs: shortLeaseMs, clock: stopped });
    const gate = Promise.withResolvers<void>();
    const revoked: number[] = [];
    const seen: unknown[] = [];
    let calls = 0;
    const ofFrozen = frozen.subscribe(topic, "all", {
      maxBatch: 100,
      handle: async (records) => {
        calls += 1;
        await gate.promise;
        if (calls > 1) seen.push(...valuesOf(records));
      },
      onRevoked: (lost) => void revoked.push(...lost),
    });
    await until("the process owns all partitions", () => ofFrozen.owned().length === partitions);
    await publish(harness, frozen, numbered("a", 1, 5));
    await until("the process reads the records", () => calls === 1);
    stopped.stop();

    await using bus = await harness.open({ leaseMs: shortLeaseMs });
    let isFailing = true;
    bus.subscribe(topic, "all", {
      maxBatch: 100,
      handle: async (records) => {
        if (isFailing) throw Object.assign(new Error("not yet"), { code: "40001" });
        seen.push(...valuesOf(records));
      },
    });
    await until("the partitions are taken over", async () => (await harness.takenOver("all")) === partitions);
    gate.resolve();
    stopped.go();
    await until("the old owner is notified", () => revoked.length === partitions);
    assert.equal(await bus.lag(topic, "all"), 5);
    isFailing = false;
    await until("the records are read again", () => seen.length >= 5);
    assert.deepEqual([...new Set(seen)], [1, 2, 3, 4, 5]);
    await frozen[Symbol.asyncDispose]();
  });

  // Commits come in another order than the starts of their transactions: reading by ids would skip the slow ones.
  test("64 writers that commit in any order lose nothing, repeat nothing and keep each key's order", async () => {
    await using harness = await openHarness();
    await using bus = await harness.open();
    await using other = await harness.open();
    const got: BusRecord<number>[] = [];
    const consumer = {
      maxBatch: 100,
      handle: async (records: readonly BusRecord<number>[]) => void got.push(...records),
    };
    const sharing = [bus, other].map((one) => one.subscribe<number>(topic, "all", consumer));
    // What changes hands while it is handled may be handled twice: that is over before anything is written.
    const isShared = () => sharing.every((subscription) => subscription.owned().length === partitions / 2);
    await until("the partitions are shared", isShared);
    const random = seeded(7);
    const committed = new Map<string, number[]>();
    let count = 0;
    const writer = async (writerIndex: number) => {
      for (let turn = 1; turn <= 10; turn += 1) {
        const isRolledBack = random() < 0.2;
        const keys = random() < 0.5 ? [`w${writerIndex}`] : [`w${writerIndex}`, `v${writerIndex}`, "shared"];
        const pauses = Math.floor(random() * 4);
        const value = writerIndex * 1_000 + turn;
        try {
          await transaction(harness.pool, async (tx) => {
            await bus.publish(
              tx,
              topic,
              keys.map((key) => ({ key, value })),
            );
            for (let i = 0; i < pauses; i += 1) await tx.query("SELECT pg_sleep(random() * 0.003)");
            if (isRolledBack) throw new Error("rolled back on purpose");
          });
        } catch (error) {
          if (isRetryableDbError(error)) throw error;
          continue;
        }
        bus.wake(topic);
        for (const key of keys) {
          committed.set(key, [...(committed.get(key) ?? []), value]);
          count += 1;
        }
      }
    };
    await Promise.all(Array.from({ length: 64 }, (_, index) => writer(index)));
    await until("all records are read", () => got.length >= count);
    await until("no record counts as unread", async () => (await bus.lag(topic, "all")) === 0);
    assert.equal(got.length, count);
    for (const [key, values] of committed) {
      const arrived = valuesOf(got.filter((record) => record.key === key)) as number[];
      // The writers of the shared key do not know each other's order; each one's own must hold.
      if (key === "shared") assert.deepEqual(arrived.toSorted(byNumber), values.toSorted(byNumber));
      else assert.deepEqual(arrived, values);
    }
    const shared = got.filter((record) => record.key === "shared");
    for (const [, own] of Map.groupBy(shared, (record) => Math.floor(record.value / 1_000))) {
      assert.deepEqual(valuesOf(own), (valuesOf(own) as number[]).toSorted(byNumber));
    }
  });

  test("consuming survives broken connections and loses nothing", async () => {
    await using harness = await openHarness();
    await using bus = await harness.open({ leaseMs: shortLeaseMs });
    const seen = collect(bus, "all");
    for (let round = 0; round < 5; round += 1) {
      await publish(harness, bus, spread(round * 50 + 1, 50));
      await harness.cutConnections();
      await publish(harness, bus, spread(round * 50 + 26, 25));
    }
    const distinct = () => new Set(valuesOf(seen));
    await until("all records are read", () => distinct().size >= 225);
    await until("no record counts as unread", async () => (await bus.lag(topic, "all")) === 0);
  });
}

const nothing = { maxBatch: 100, handle: async () => {} };

function byNumber(a: number, b: number): number {
  return a - b;
}

/** mulberry32: the same numbers for the same seed. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** No pause is longer. */
function hastyClock(longestMs: number): Clock {
  return { ...systemClock, after: (delayMs, callback) => systemClock.after(Math.min(delayMs, longestMs), callback) };
}

/** A process that was stopped (as the machine was suspended) and continues later. */
function stoppableClock(): Clock & { stop(): void; go(): void } {
  let held: (() => void)[] | null = null;
  return {
    ...systemClock,
    after: (delayMs, callback) =>
      systemClock.after(delayMs, () => {
        if (held === null) callback();
        else held.push(callback);
      }),
    stop() {
      held = [];
    },
    go() {
      const waiting = held ?? [];
      held = null;
      for (const callback of waiting) callback();
    },
  };
}
