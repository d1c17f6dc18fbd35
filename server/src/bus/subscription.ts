import { type Backoff, doubledMs } from "../lib/backoff.ts";
import { type Clock, pause } from "../lib/clock.ts";
import { isRecordFault } from "../lib/faults.ts";
import type { Log, Pool } from "../lib/postgres.ts";
import type { Troubles } from "../lib/troubles.ts";
import type { BusRecord, Consumer } from "./bus.ts";
import { advanceAndRead, createCursors, giveBack, type Ownership, type RenewedRow, renew } from "./cursors.ts";

export interface PostgresSubscription {
  readonly topic: string;
  readonly group: string;
  readonly ownerId: string;
  /** There may be something to read. */
  wake(): void;
  owned(): readonly number[];
  /** Undefined unless the partition is owned. */
  standing(partition: number): Pick<Ownership, "consumed" | "isReady"> | undefined;
  /** How many consume this topic, in any group and process, this one included; 0 while that is not known. */
  consumers(): number;
  close(): Promise<void>;
}

interface SubscriptionOptions<Value> {
  pool: Pool;
  clock: Clock;
  log: Log;
  troubles: Troubles;
  topic: string;
  group: string;
  ownerId: string;
  leaseMs: number;
  consumer: Consumer<Value>;
  /**
   * Called when there are more consumers of this topic than were known: records published meanwhile may not have woken
   * them.
   */
  onMoreConsumers: () => void;
}

/** How often an unwoken consumer looks by itself, in milliseconds. */
const pollMs = 1_000;
/**
 * While several records come at a time, reads are at least this far apart, in milliseconds: each takes more of them.
 */
const paceMs = 8;
const severalRecords = 4;
/** Tries of a record that fails by its own fault, before it is given up. */
const maxTries = 4;
/** Between two tries at one record, longer with each try. */
const retryPauseMs = 200;
/** Before a read that failed is repeated, and before a partition whose record has to wait is read again. */
const backoff: Backoff = { firstMs: 200, longestMs: 5_000 };

export function openSubscription<Value>(options: SubscriptionOptions<Value>): PostgresSubscription {
  const { pool, clock, log, troubles, topic, group, ownerId, leaseMs, consumer, onMoreConsumers } = options;
  const part = `${group} ${topic}`;
  const leases = `leases of ${part}`;
  const partitions = new Map<number, Ownership>();
  /** Calls under way for a single partition. */
  const underWay = new Map<number, Promise<void>>();
  const closing = new AbortController();
  let heldUntil = 0;
  let consumers = 0;
  let reads = 0;
  let isWoken = true;
  let rouse = () => {};

  function wake(): void {
    isWoken = true;
    rouse();
  }

  async function keepLeases(): Promise<void> {
    await createCursors(pool, topic, group).catch(() => {});
    while (!closing.signal.aborted) {
      const startedAt = clock.elapsed();
      try {
        const rows = await renew(pool, topic, group, ownerId, leaseMs);
        if (rows.length === 0) await createCursors(pool, topic, group);
        // Nothing was read while the lease had run out.
        if (clock.elapsed() >= heldUntil) wake();
        heldUntil = startedAt + leaseMs;
        const before = consumers;
        consumers = rows[0]?.consumers ?? 0;
        if (consumers > before) onMoreConsumers();
        adopt(rows);
        troubles.worked(leases);
      } catch (error) {
        troubles.failed(leases, error);
        if (clock.elapsed() >= heldUntil) adopt([]);
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
      partitions.set(row.partition, {
        epoch: row.epoch,
        consumed: offset,
        committed: offset,
        isReady: false,
        stall: null,
      });
      wake();
    }
  }

  async function consume(): Promise<void> {
    let failures = 0;
    while (!closing.signal.aborted) {
      isWoken = false;
      const startedAt = clock.elapsed();
      try {
        await welcome();
        const records = await read();
        failures = 0;
        if ([...partitions.values()].every(({ stall }) => stall === null)) troubles.worked(part);
        if (records.length > 0) {
          await handOut(records);
          if (records.length >= severalRecords)
            await pause(clock, startedAt + paceMs - clock.elapsed(), closing.signal);
          continue;
        }
      } catch (error) {
        troubles.failed(part, error);
        failures += 1;
        await pause(clock, doubledMs(backoff, failures), closing.signal);
        continue;
      }
      if (!isWoken) await asleep(nextStallEnd());
    }
    await Promise.all(underWay.values());
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
    const now = clock.elapsed();
    const all = [...partitions].filter(
      ([partition, { isReady, stall }]) => isReady && !underWay.has(partition) && (stall?.until ?? now) <= now,
    );
    if (all.length === 0 || now >= heldUntil) return [];
    // Begins with another partition each time, so that large batches in one do not fill every read.
    reads += 1;
    const ready = [...all.slice(reads % all.length), ...all.slice(0, reads % all.length)];
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

  async function handOut(records: readonly BusRecord<Value>[]): Promise<void> {
    const { partitionsAtOnce } = consumer;
    if (partitionsAtOnce === undefined) return handleAll(records);
    for (const [partition, theirs] of Map.groupBy(records, (record) => record.partition)) {
      while (underWay.size >= partitionsAtOnce) await Promise.race(underWay.values());
      if (closing.signal.aborted || !partitions.has(partition)) continue;
      const call = handleAll(theirs).finally(() => {
        underWay.delete(partition);
        wake();
      });
      underWay.set(partition, call);
    }
  }

  async function handleAll(records: readonly BusRecord<Value>[]): Promise<void> {
    try {
      await consumer.handle(records);
      passed(records);
    } catch (error) {
      log.info(
        { err: error, topic, group, records: records.length },
        "bus: a batch failed and is tried record by record",
      );
      for (const [partition, group] of Map.groupBy(records, (record) => record.partition)) {
        for (const record of group) {
          if (closing.signal.aborted || !partitions.has(partition) || !(await handleOne(record))) break;
        }
      }
    }
  }

  /** False: the record and the later ones of its partition must wait. */
  async function handleOne(record: BusRecord<Value>): Promise<boolean> {
    for (let tries = 1; !closing.signal.aborted; tries += 1) {
      try {
        await consumer.handle([record]);
        passed([record]);
        return true;
      } catch (error) {
        const mayGiveUp = consumer.giveUp !== undefined && isRecordFault(error);
        if (!mayGiveUp) return stall(record, error);
        if (tries === maxTries) return giveUp(record, error);
        await pause(clock, retryPauseMs * tries, closing.signal);
      }
    }
    return false;
  }

  async function giveUp(record: BusRecord<Value>, error: unknown): Promise<boolean> {
    try {
      await consumer.giveUp!(record, error);
    } catch (cause) {
      return stall(record, cause);
    }
    const place = { topic, group, partition: record.partition, offset: record.offset };
    log.error({ err: error, ...place }, "bus: a record was given up");
    passed([record]);
    return true;
  }

  /** Stops reading the partition for a while; then it is read again from this record on. */
  function stall({ partition }: BusRecord<Value>, error: unknown): false {
    const ours = partitions.get(partition);
    troubles.failed(part, error);
    if (ours === undefined) return false;
    const failures = (ours.stall?.failures ?? 0) + 1;
    ours.stall = { failures, until: clock.elapsed() + doubledMs(backoff, failures) };
    return false;
  }

  function nextStallEnd(): number {
    return Math.min(...[...partitions.values()].map(({ stall }) => stall?.until ?? Number.POSITIVE_INFINITY));
  }

  function passed(records: readonly BusRecord<Value>[]): void {
    for (const { partition, offset } of records) {
      const ours = partitions.get(partition);
      if (ours === undefined) continue;
      ours.stall = null;
      if (offset > ours.consumed) ours.consumed = offset;
    }
  }

  function asleep(until: number): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        cancel();
        rouse = () => {};
        resolve();
      };
      const cancel = clock.after(Math.max(0, Math.min(pollMs, until - clock.elapsed())), done);
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
    group,
    ownerId,
    wake,
    owned: () => [...partitions.keys()],
    standing: (partition) => partitions.get(partition),
    consumers: () => consumers,
    close: () => {
      closed ??= close().catch((error) =>
        log.warn({ err: error, topic, group }, "bus: partitions were not given back"),
      );
      return closed;
    },
  };
}
