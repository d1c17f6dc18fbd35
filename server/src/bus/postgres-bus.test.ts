import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { hostname } from "node:os";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import pg from "pg";
import { systemClock } from "../lib/clock.ts";
import { notifyChannel, openPostgresFanout } from "../lib/fanout/postgres-fanout.ts";
import { newId } from "../lib/ids.ts";
import { type Log, openPool, withSettings } from "../lib/postgres.ts";
import { all, one, run } from "../lib/query.ts";
import { type BusHarness, collect, partitions, publish, spread, topic } from "../testing/suites/bus-harness.ts";
import { busSuite } from "../testing/suites/bus-suite.ts";
import { createTestDatabase } from "../testing/test-database.ts";
import { until } from "../testing/until.ts";
import { advanceAndRead, createCursors, giveBack, renew } from "./cursors.ts";
import { openPostgresBus } from "./postgres-bus.ts";
import { rotateSegments, segmentBytes } from "./segments.ts";

const quiet: Log = { info() {}, warn() {}, error() {} };
const consumerProgram = fileURLToPath(new URL("../testing/bus-consumer-process.ts", import.meta.url));

interface PostgresHarness extends BusHarness {
  readonly url: string;
}

async function openHarness(): Promise<PostgresHarness> {
  await using stack = new AsyncDisposableStack();
  const { url } = stack.use(await createTestDatabase());
  const pool = stack.adopt(openPool({ url, size: 24, applicationName: "publishers", log: quiet }), (opened) =>
    opened.end(),
  );
  const opened = stack.move();
  return {
    url,
    pool,
    async open({ leaseMs = 4_000, clock = systemClock } = {}) {
      const fanout = await openPostgresFanout({ url, clock, log: quiet });
      const bus = await openPostgresBus({ url, fanout, clock, log: quiet, topics: [topic], partitions, leaseMs });
      const close = async () => {
        await bus[Symbol.asyncDispose]();
        await fanout[Symbol.asyncDispose]();
      };
      return { ...bus, [Symbol.asyncDispose]: close };
    },
    async startProcess(group, { leaseMs = 4_000 } = {}) {
      const child = fork(consumerProgram, [url, topic, group, String(partitions), String(leaseMs)]);
      let owned = 0;
      child.on("message", (count) => {
        owned = count as number;
      });
      return { owned: () => owned, kill: () => void child.kill("SIGKILL") };
    },
    async cutConnections() {
      await pool.query(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND application_name IN ('chat4all bus', 'chat4all fanout', 'chat4all listen chat4all_fanout')`,
      );
    },
    async takenOver(group) {
      const row = await one<{ owned: number }>(
        pool,
        "SELECT count(*) AS owned FROM bus_cursors WHERE consumer_group = $1 AND epoch > 1 AND owner IS NOT NULL",
        [group],
      );
      return row.owned;
    },
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

busSuite(openHarness);

test("many messages share a NOTIFY", async () => {
  await using harness = await openHarness();
  await using publisher = await harness.open();
  await using consumer = await harness.open();
  const seen = collect(consumer, "all");
  const listener = new pg.Client({ connectionString: harness.url });
  await listener.connect();
  let notifications = 0;
  listener.on("notification", () => {
    notifications += 1;
  });
  await listener.query(`LISTEN ${notifyChannel}`);
  const begin = performance.now();
  for (let i = 1; i <= 1_000; i += 1) {
    await publisher.publish(harness.pool, topic, spread(i, 1));
    publisher.wake(topic);
  }
  await until("all records are read", () => seen.length >= 1_000);
  await listener.query("SELECT 1");
  await listener.end();
  // Two are at least 5 ms apart.
  const most = 1 + (performance.now() - begin) / 5;
  assert.ok(notifications > 0 && notifications <= most, `there were ${notifications} notifications`);
});

// An operator who finds the owner of a partition in the database must be able to find its process.
test("a consumer that takes over partitions logs its owner id and its process", async () => {
  await using harness = await openHarness();
  const lines: object[] = [];
  const log: Log = { ...quiet, info: (fields, message) => void lines.push({ ...fields, message }) };
  await using fanout = await openPostgresFanout({ url: harness.url, clock: systemClock, log: quiet });
  const options = { url: harness.url, fanout, clock: systemClock, topics: [topic], partitions, leaseMs: 800 };
  await using bus = await openPostgresBus({ ...options, log });
  const first = bus.subscribe(topic, "all", { maxBatch: 1, async handle() {} });
  await until("it owns all partitions", () => first.owned().length === partitions);
  const leases = () =>
    one<{ owners: string[]; end: string }>(
      harness.pool,
      "SELECT array_agg(DISTINCT owner::text) AS owners, max(lease_expires_at)::text AS end FROM bus_cursors",
    );
  const { owners, end } = await leases();
  const fields = { topic, group: "all", owner: first.ownerId, host: hostname(), pid: process.pid };
  const message = "bus: took over partitions";
  assert.deepEqual(owners, [first.ownerId]);
  assert.deepEqual(lines, [{ ...fields, partitions: Array.from({ length: partitions }, (_, i) => i), message }]);
  await until("its leases are renewed", async () => (await leases()).end !== end);
  assert.equal(lines.length, 1, "a renewal is not logged");
});

// Otherwise nothing of its partitions would be read until the clock shows the old time again.
test("the leases of a dead process do not last longer when the database's clock was set back", async () => {
  await using harness = await openHarness();
  const ownerId = newId(Date.now());
  {
    await using _bus = await harness.open();
    await createCursors(harness.pool, topic, "all");
    await renew(harness.pool, topic, "all", ownerId, 4_000);
  }
  await run(harness.pool, "UPDATE bus_cursors SET lease_expires_at = lease_expires_at + interval '1 hour'");
  await run(harness.pool, "UPDATE bus_consumers SET expires_at = expires_at + interval '1 hour'");
  await using bus = await harness.open({ leaseMs: 800 });
  const ofBus = bus.subscribe(topic, "all", { maxBatch: 100, async handle() {} });
  await until("it owns all partitions", () => ofBus.owned().length === partitions);
});

const plans = {
  "a nested loop": ["enable_seqscan=off", "enable_hashjoin=off", "enable_mergejoin=off"],
  "a hash join": ["enable_nestloop=off", "enable_mergejoin=off"],
  "a bitmap scan": ["enable_seqscan=off", "enable_indexscan=off", "enable_indexonlyscan=off"],
};

// With locks in two orders, a consumer that reads while it renews its leases would deadlock with itself.
for (const [plan, settings] of Object.entries(plans)) {
  test(`cursors are locked in the order of their partitions when the planner takes ${plan}`, async () => {
    await using harness = await openHarness();
    await using _bus = await harness.open();
    await using stack = new AsyncDisposableStack();
    const url = withSettings(harness.url, [
      "role=chat4all_pipeline",
      "plan_cache_mode=force_generic_plan",
      ...settings,
    ]);
    const pool = stack.adopt(openPool({ url, size: 4, applicationName: "chat4all bus", log: quiet }), (opened) =>
      opened.end(),
    );
    const ownerId = newId(Date.now());
    await createCursors(pool, topic, "both");
    await renew(pool, topic, "both", ownerId, 60_000);
    // The table holds the last partition first.
    for (let partition = partitions - 1; partition >= 0; partition -= 1) {
      await run(harness.pool, "UPDATE bus_cursors SET epoch = epoch WHERE consumer_group = 'both' AND partition = $1", [
        partition,
      ]);
    }
    await run(harness.pool, "ANALYZE bus_cursors");
    const owned = (await renew(pool, topic, "both", ownerId, 60_000)).map(({ partition, epoch }) => {
      return [partition, { epoch, consumed: 1, committed: 0, isReady: true, stall: null }] as const;
    });
    const turns = [5, 7, 2, 4, 6, 0, 1, 3].map((partition) => owned.find(([own]) => own === partition)!);
    const positions = turns.map(() => 1);
    const statements = {
      advanceAndRead: () => advanceAndRead(pool, topic, "both", ownerId, turns, positions, 0),
      renew: () => renew(pool, topic, "both", ownerId, 60_000),
      shortenOthers: () => renew(pool, topic, "both", newId(Date.now()), 4_000),
      giveBack: () => giveBack(pool, topic, "both", ownerId),
    };
    for (const [name, start] of Object.entries(statements)) {
      await using blocker = await lockCursor(harness, 4);
      const started = start();
      await until(`${name} waits for partition 4`, () => blocker.isWaitedFor());
      assert.deepEqual(await blocker.lockedByOthers(), [0, 1, 2, 3], name);
      await blocker[Symbol.asyncDispose]();
      await started;
    }
  });
}

/** Holds the lock of one cursor, on a connection of the owner: `pg_stat_activity` hides waits from other roles. */
async function lockCursor({ pool }: PostgresHarness, partition: number) {
  const client = await pool.connect();
  const lock = "SELECT FROM bus_cursors WHERE consumer_group = 'both' AND partition = $1 FOR UPDATE";
  await client.query("BEGIN");
  await client.query(lock, [partition]);
  const { pid } = await one<{ pid: number }>(client, "SELECT pg_backend_pid() AS pid");
  let isHeld = true;
  return {
    async isWaitedFor() {
      const waiting = "SELECT count(*) AS count FROM pg_stat_activity WHERE $1 = ANY (pg_blocking_pids(pid))";
      return (await one<{ count: number }>(pool, waiting, [pid])).count > 0;
    },
    async lockedByOthers() {
      const free = await all<{ partition: number }>(
        client,
        "SELECT partition FROM bus_cursors WHERE consumer_group = 'both' FOR UPDATE SKIP LOCKED",
      );
      const isFree = new Set(free.map(({ partition }) => partition));
      return Array.from({ length: partitions }, (_, index) => index).filter((index) => !isFree.has(index));
    },
    async [Symbol.asyncDispose]() {
      if (!isHeld) return;
      isHeld = false;
      await client.query("ROLLBACK");
      client.release();
    },
  };
}

// Rows that are deleted one by one would leave more to vacuum than vacuum can take.
test("the tables stay small after any number of records", async () => {
  await using harness = await openHarness();
  await using bus = await harness.open();
  const seen = collect(bus, "all", { maxBatch: 2_000 });
  const text = "x".repeat(60);
  let published = 0;
  for (let round = 0; round < 20; round += 1) {
    // Noise does not compress, so that the records weigh what they seem to.
    const records = spread(round * 10_000, 10_000).map(({ key }, index) => ({
      key,
      value: `${text}${Math.imul(index + round, 2_654_435_761).toString(36)}${crypto.randomUUID()}${crypto.randomUUID()}`,
    }));
    await publish(harness, bus, records);
    published += records.length;
    await until("all records are read", () => seen.length >= published);
    seen.length = 0;
    published = 0;
    await until("no record counts as unread", async () => (await bus.lag(topic, "all")) === 0);
    await rotateSegments(harness.pool);
  }
  await rotateSegments(harness.pool);
  const segments = await one<{ bytes: number }>(
    harness.pool,
    `SELECT sum(pg_total_relation_size(c.oid))::bigint AS bytes FROM pg_class c WHERE c.relname ~ '^bus_records_\\d$'`,
  );
  assert.ok(segments.bytes <= 3 * segmentBytes, `${segments.bytes} bytes are left of the segments`);
  await run(harness.pool, "SELECT pg_stat_force_next_flush()");
  const tables = await all<{ relname: string; bytes: number; n_dead_tup: number }>(
    harness.pool,
    `SELECT relname, pg_table_size(relid) AS bytes, n_dead_tup FROM pg_stat_user_tables
     WHERE relname ~ '^bus_' AND relname !~ '^bus_records'`,
  );
  for (const { relname, bytes, n_dead_tup } of tables) {
    assert.ok(bytes <= 1024 * 1024, `${relname} has ${bytes} bytes`);
    assert.ok(n_dead_tup <= 1_000, `${relname} has ${n_dead_tup} dead rows`);
  }
});
