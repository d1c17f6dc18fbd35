import { type Clock, pause } from "../lib/clock.ts";
import { isRetryableDbError, type Log, type Pool } from "../lib/postgres.ts";
import { all, run } from "../lib/query.ts";
import type { BusRecord, Consumer } from "./bus.ts";

export interface PostgresSubscription {
  readonly topic: string;
  /** There may be something to read. */
  wake(): void;
  owned(): readonly number[];
  /** How many consume this topic, in any group and process, this one included; 0 while that is not known. */
  consumers(): number;
  close(): Promise<void>;
}

interface SubscriptionOptions<Value> {
  pool: Pool;
  clock: Clock;
  log: Log;
  topic: string;
  group: string;
  ownerId: string;
  leaseMs: number;
  consumer: Consumer<Value>;
}

interface Ownership {
  epoch: number;
  /** Handled here; the cursor in the database follows with the next read. */
  consumed: number;
  committed: number;
  isReady: boolean;
}

/** How often an unwoken consumer looks by itself, in milliseconds. */
const pollMs = 1_000;
/** Rows (published batches) read of one partition at a time. */
const rowsPerPartition = 32;
/** While several records come at a time, reads are at least this far apart, in milliseconds: each takes more of them. */
const paceMs = 5;
const severalRecords = 4;
/** Tries at a record, one by one, before it is set aside. */
const maxTries = 4;
/** The first pause after a failure, doubled with each further one. */
const retryPauseMs = 200;
const maxPauseMs = 5_000;

export function openSubscription<Value>(options: SubscriptionOptions<Value>): PostgresSubscription {
  const { pool, clock, log, topic, group, ownerId, leaseMs, consumer } = options;
  const partitions = new Map<number, Ownership>();
  const closing = new AbortController();
  let heldUntil = 0;
  let consumers = 0;
  let isWoken = true;
  let rouse = () => {};

  function wake(): void {
    isWoken = true;
    rouse();
  }

  async function keepLeases(): Promise<void> {
    await createCursors(pool, topic, group).catch(() => {});
    while (!closing.signal.aborted) {
      const startedAt = clock.now();
      try {
        const rows = await renew(pool, topic, group, ownerId, leaseMs);
        if (rows.length === 0) await createCursors(pool, topic, group);
        heldUntil = startedAt + leaseMs;
        consumers = rows[0]?.consumers ?? 0;
        adopt(rows);
      } catch (error) {
        log.warn({ err: error, topic, group }, "bus: leases could not be renewed");
        if (clock.now() >= heldUntil) adopt([]);
      }
      await pause(clock, leaseMs / 4, closing.signal);
    }
  }

  function adopt(rows: readonly RenewedRow[]): void {
    const held = new Map(rows.map((row) => [row.partition, row]));
    const lost = [...partitions].filter(([partition, ours]) => held.get(partition)?.epoch !== ours.epoch);
    for (const [partition] of lost) partitions.delete(partition);
    if (lost.length > 0) consumer.onRevoked?.(lost.map(([partition]) => partition));
    for (const row of rows) {
      if (partitions.has(row.partition)) continue;
      const offset = row.consumed_offset;
      partitions.set(row.partition, { epoch: row.epoch, consumed: offset, committed: offset, isReady: false });
      wake();
    }
  }

  async function consume(): Promise<void> {
    let failures = 0;
    while (!closing.signal.aborted) {
      isWoken = false;
      const startedAt = clock.now();
      try {
        await welcome();
        const records = await read();
        failures = 0;
        if (records.length > 0) {
          await handleAll(records);
          if (records.length >= severalRecords) await pause(clock, startedAt + paceMs - clock.now(), closing.signal);
          continue;
        }
      } catch (error) {
        log.warn({ err: error, topic, group }, "bus: consuming failed and goes on");
        await pause(clock, Math.min(maxPauseMs, retryPauseMs * 2 ** failures), closing.signal);
        failures += 1;
        continue;
      }
      if (!isWoken) await asleep();
    }
  }

  /** Lets the consumer prepare for partitions that are new here. */
  async function welcome(): Promise<void> {
    const fresh = [...partitions].filter(([, ours]) => !ours.isReady);
    if (fresh.length === 0) return;
    await consumer.onAssigned?.(fresh.map(([partition]) => partition));
    for (const [, ours] of fresh) ours.isReady = true;
  }

  /** Moves the cursors to what was handled and reads what comes next, in one statement. */
  async function read(): Promise<BusRecord<Value>[]> {
    const ready = [...partitions].filter(([, ours]) => ours.isReady);
    if (ready.length === 0 || clock.now() >= heldUntil) return [];
    const positions = ready.map(([, ours]) => ours.consumed);
    const rows = await advanceAndRead(pool, topic, group, ownerId, ready, positions, consumer.maxBatch);
    for (const [index, [, ours]] of ready.entries()) ours.committed = positions[index]!;
    const records: BusRecord<Value>[] = [];
    for (const row of rows) {
      const after = partitions.get(row.partition)?.consumed;
      if (after === undefined) continue;
      const pairs = JSON.parse(row.records) as [string, Value][];
      for (const [index, [key, value]] of pairs.entries()) {
        const offset = row.last_offset - row.record_count + index + 1;
        if (offset > after) records.push({ partition: row.partition, offset, key, value });
      }
    }
    return records;
  }

  async function handleAll(records: readonly BusRecord<Value>[]): Promise<void> {
    try {
      await consumer.handle(records);
      passed(records);
    } catch (error) {
      log.warn(
        { err: error, topic, group, records: records.length },
        "bus: a batch failed and is tried record by record",
      );
      for (const record of records) {
        if (closing.signal.aborted || !partitions.has(record.partition)) return;
        await handleOne(record);
      }
    }
  }

  async function handleOne(record: BusRecord<Value>): Promise<void> {
    for (let tries = 1; !closing.signal.aborted; ) {
      try {
        await consumer.handle([record]);
        return passed([record]);
      } catch (error) {
        if (!isRetryableDbError(error)) tries += 1;
        if (tries > maxTries) {
          await setAside(pool, topic, group, record, error);
          log.error(
            { err: error, topic, group, partition: record.partition, offset: record.offset },
            "bus: a record was set aside",
          );
          return passed([record]);
        }
        await pause(clock, retryPauseMs * tries, closing.signal);
      }
    }
  }

  function passed(records: readonly BusRecord<Value>[]): void {
    for (const { partition, offset } of records) {
      const ours = partitions.get(partition);
      if (ours !== undefined && offset > ours.consumed) ours.consumed = offset;
    }
  }

  function asleep(): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        cancel();
        rouse = () => {};
        resolve();
      };
      const cancel = clock.after(pollMs, done);
      rouse = done;
    });
  }

  const running = Promise.all([keepLeases(), consume()]);
  let closed: Promise<void> | undefined;
  async function close(): Promise<void> {
    closing.abort();
    wake();
    await running;
    const moved = [...partitions].filter(([, ours]) => ours.consumed > ours.committed);
    const positions = moved.map(([, ours]) => ours.consumed);
    if (moved.length > 0) await advanceAndRead(pool, topic, group, ownerId, moved, positions, 0);
    await giveBack(pool, topic, group, ownerId);
  }

  return {
    topic,
    wake,
    owned: () => [...partitions.keys()],
    consumers: () => consumers,
    close: () => {
      closed ??= close().catch((error) =>
        log.warn({ err: error, topic, group }, "bus: partitions were not given back"),
      );
      return closed;
    },
  };
}

interface RenewedRow {
  partition: number;
  epoch: number;
  consumed_offset: number;
  consumers: number;
}

function renew(pool: Pool, topic: string, group: string, ownerId: string, leaseMs: number): Promise<RenewedRow[]> {
  return all(pool, "SELECT * FROM bus_renew($1, $2, $3, make_interval(secs => $4))", [
    topic,
    group,
    ownerId,
    leaseMs / 1000,
  ]);
}

async function createCursors(pool: Pool, topic: string, group: string): Promise<void> {
  await run(
    pool,
    `INSERT INTO bus_cursors (topic, consumer_group, partition)
     SELECT topic, $2, partition FROM bus_heads WHERE topic = $1 ON CONFLICT DO NOTHING`,
    [topic, group],
  );
}

interface BatchRow {
  partition: number;
  last_offset: number;
  record_count: number;
  records: string;
}

/** Reads whole rows until about `maxRecords` records, oldest first in each partition. */
async function advanceAndRead(
  pool: Pool,
  topic: string,
  group: string,
  ownerId: string,
  owned: readonly (readonly [number, Ownership])[],
  positions: readonly number[],
  maxRecords: number,
): Promise<BatchRow[]> {
  const { rows } = await pool.query<BatchRow>({
    name: "bus_advance_and_read",
    text: `
      WITH at AS MATERIALIZED (
        SELECT * FROM unnest($4::int[], $5::bigint[], $6::bigint[]) AS t (partition, epoch, consumed)
      ), moved AS (
        UPDATE bus_cursors c SET consumed_offset = at.consumed
        FROM at
        WHERE c.topic = $1 AND c.consumer_group = $2 AND c.owner = $3 AND c.partition = at.partition
          AND c.epoch = at.epoch AND c.consumed_offset < at.consumed
      ), found AS (
        SELECT r.*, sum(r.record_count) OVER (ORDER BY r.place, r.partition) - r.record_count AS before
        FROM at CROSS JOIN LATERAL (
          SELECT at.partition, b.last_offset, b.record_count, b.records, row_number() OVER (ORDER BY b.last_offset) AS place
          FROM bus_records b
          WHERE b.topic = $1 AND b.partition = at.partition AND b.last_offset > at.consumed
          ORDER BY b.last_offset LIMIT $8
        ) r
      )
      SELECT partition, last_offset, record_count, records FROM found WHERE before < $7 ORDER BY partition, last_offset`,
    values: [
      topic,
      group,
      ownerId,
      owned.map(([partition]) => partition),
      owned.map(([, ours]) => ours.epoch),
      positions,
      maxRecords,
      rowsPerPartition,
    ],
  });
  return rows;
}

async function setAside<Value>(
  pool: Pool,
  topic: string,
  group: string,
  record: BusRecord<Value>,
  error: unknown,
): Promise<void> {
  await run(
    pool,
    `INSERT INTO bus_dead_records (topic, consumer_group, partition, record_offset, key, value, error)
     VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING`,
    [topic, group, record.partition, record.offset, record.key, JSON.stringify(record.value), String(error)],
  );
}

async function giveBack(pool: Pool, topic: string, group: string, ownerId: string): Promise<void> {
  await run(
    pool,
    `UPDATE bus_cursors SET owner = NULL, lease_expires_at = NULL
     WHERE topic = $1 AND consumer_group = $2 AND owner = $3`,
    [topic, group, ownerId],
  );
  await run(pool, "DELETE FROM bus_consumers WHERE topic = $1 AND consumer_group = $2 AND owner = $3", [
    topic,
    group,
    ownerId,
  ]);
}
