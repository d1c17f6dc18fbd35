import { type Backoff, doubledMs } from "../lib/backoff.ts";
import { pause } from "../lib/clock.ts";
import { isRecordFault } from "../lib/faults.ts";
import type { BusRecord, Consumer } from "./bus.ts";
import { advanceAndRead, giveBack, type Ownership, passFence } from "./cursors.ts";
import { Leases, type LeasesOptions } from "./leases.ts";

interface SubscriptionOptions<Value> extends Omit<LeasesOptions, "wake" | "onRevoked"> {
  consumer: Consumer<Value>;
}

const pollMs = 1_000;
/** Reads are at least so far apart while several records arrive at a time: each returns more. */
const paceMs = 8;
const severalRecords = 4;
/** Tries of a record that fails by its own fault, before it is given up. */
const maxTries = 4;
/** Between two tries of one record, longer with each try. */
const retryPauseMs = 200;
/** Before a failed read is retried, and before a partition whose record has to wait is read again. */
const backoff: Backoff = { firstMs: 200, longestMs: 5_000 };

/** Reads the partitions that this process owns, and passes their records to the consumer. */
export class PostgresSubscription<Value> {
  readonly topic: string;
  readonly group: string;
  readonly ownerId: string;
  readonly leases: Leases;
  readonly #options: SubscriptionOptions<Value>;
  readonly #part: string;
  readonly #underWay = new Map<number, Promise<void>>();
  readonly #closing = new AbortController();
  readonly #running: Promise<unknown>;
  #closed: Promise<void> | undefined;
  #reads = 0;
  #isWoken = true;
  #endSleep = () => {};

  constructor(options: SubscriptionOptions<Value>) {
    const { consumer } = options;
    this.#options = options;
    this.topic = options.topic;
    this.group = options.group;
    this.ownerId = options.ownerId;
    this.#part = `${this.group} ${this.topic}`;
    this.leases = new Leases({
      ...options,
      wake: () => this.wake(),
      onRevoked: consumer.onRevoked && ((partitions) => consumer.onRevoked!(partitions)),
    });
    this.#running = Promise.all([this.leases.keep(this.#closing.signal), this.#consume()]);
  }

  wake(): void {
    this.#isWoken = true;
    this.#endSleep();
  }

  /** Finishes the calls under way and gives the partitions back. Safe to call twice. */
  close(): Promise<void> {
    const { log, topic, group } = this.#options;
    this.#closed ??= this.#close().catch((error) =>
      log.warn({ err: error, topic, group }, "bus: partitions were not given back"),
    );
    return this.#closed;
  }

  async #close(): Promise<void> {
    const { pool, topic, group, ownerId } = this.#options;
    this.#closing.abort();
    this.wake();
    await this.#running;
    const moved = [...this.leases.partitions].filter(([, ours]) => ours.consumed > ours.committed);
    const positions = moved.map(([, ours]) => ours.consumed);
    if (moved.length > 0) await advanceAndRead(pool, topic, group, ownerId, moved, positions, 0);
    await giveBack(pool, topic, group, ownerId);
  }

  async #consume(): Promise<void> {
    const { clock, troubles } = this.#options;
    const { signal } = this.#closing;
    let failures = 0;
    while (!signal.aborted) {
      this.#isWoken = false;
      const startedAt = clock.elapsed();
      try {
        await this.#prepare();
        const records = await this.#read();
        failures = 0;
        if (this.#owned.every(([, { stall }]) => stall === null)) troubles.worked(this.#part);
        if (records.length > 0) {
          await this.#dispatch(records);
          if (records.length >= severalRecords) await pause(clock, startedAt + paceMs - clock.elapsed(), signal);
          continue;
        }
      } catch (error) {
        troubles.failed(this.#part, error);
        failures += 1;
        await pause(clock, doubledMs(backoff, failures), signal);
        continue;
      }
      if (!this.#isWoken) await this.#sleep();
    }
    await Promise.all(this.#underWay.values());
  }

  get #owned(): [number, Ownership][] {
    return [...this.leases.partitions];
  }

  async #prepare(): Promise<void> {
    const fresh = this.#owned.filter(([, ours]) => !ours.isReady);
    if (fresh.length === 0) return;
    const { pool, topic, consumer } = this.#options;
    const partitions = fresh.map(([partition]) => partition);
    await passFence(pool, topic, partitions);
    await consumer.onAssigned?.(partitions);
    for (const [, ours] of fresh) ours.isReady = true;
  }

  async #read(): Promise<BusRecord<Value>[]> {
    const { pool, clock, topic, group, ownerId, consumer } = this.#options;
    const now = clock.elapsed();
    const all = this.#owned.filter(
      ([partition, { isReady, stall }]) => isReady && !this.#underWay.has(partition) && (stall?.until ?? now) <= now,
    );
    if (all.length === 0 || !this.leases.areHeld) return [];
    // Begins with another partition each time, so that large batches in one do not fill every read.
    this.#reads += 1;
    const ready = [...all.slice(this.#reads % all.length), ...all.slice(0, this.#reads % all.length)];
    const positions = ready.map(([, ours]) => ours.consumed);
    const rows = await advanceAndRead(pool, topic, group, ownerId, ready, positions, consumer.maxBatch);
    for (const [index, [, ours]] of ready.entries()) ours.committed = positions[index]!;
    const records: BusRecord<Value>[] = [];
    for (const row of rows) {
      const after = this.leases.partitions.get(row.partition)?.consumed;
      if (after === undefined) continue;
      const pairs = JSON.parse(row.records) as [string, Value][];
      for (const [index, [key, value]] of pairs.entries()) {
        const offset = row.last_offset - row.record_count + index + 1;
        if (offset > after) records.push({ partition: row.partition, offset, key, value });
      }
    }
    return records;
  }

  async #dispatch(records: readonly BusRecord<Value>[]): Promise<void> {
    const { partitionsAtOnce } = this.#options.consumer;
    if (partitionsAtOnce === undefined) return this.#handleAll(records);
    for (const [partition, theirs] of Map.groupBy(records, (record) => record.partition)) {
      while (this.#underWay.size >= partitionsAtOnce) await Promise.race(this.#underWay.values());
      if (!this.#mayHandle(partition)) continue;
      const call = this.#handleAll(theirs).finally(() => {
        this.#underWay.delete(partition);
        this.wake();
      });
      this.#underWay.set(partition, call);
    }
  }

  #mayHandle(partition: number): boolean {
    return !this.#closing.signal.aborted && this.leases.partitions.has(partition);
  }

  async #handleAll(records: readonly BusRecord<Value>[]): Promise<void> {
    const { consumer, log, topic, group } = this.#options;
    try {
      await consumer.handle(records);
      this.#passed(records);
    } catch (error) {
      const fields = { err: error, topic, group, records: records.length };
      log.info(fields, "bus: a batch failed and is retried record by record");
      for (const [partition, theirs] of Map.groupBy(records, (record) => record.partition)) {
        for (const record of theirs) if (!this.#mayHandle(partition) || !(await this.#handleOne(record))) break;
      }
    }
  }

  /** False: the record and the later ones of its partition must wait. */
  async #handleOne(record: BusRecord<Value>): Promise<boolean> {
    const { consumer, clock } = this.#options;
    const { signal } = this.#closing;
    for (let tries = 1; !signal.aborted; tries += 1) {
      try {
        await consumer.handle([record]);
        this.#passed([record]);
        return true;
      } catch (error) {
        const mayGiveUp = consumer.giveUp !== undefined && isRecordFault(error);
        if (!mayGiveUp) return this.#stall(record, error);
        if (tries === maxTries) return this.#giveUp(record, error);
        await pause(clock, retryPauseMs * tries, signal);
      }
    }
    return false;
  }

  async #giveUp(record: BusRecord<Value>, error: unknown): Promise<boolean> {
    const { consumer, log, topic, group } = this.#options;
    try {
      await consumer.giveUp!(record, error);
    } catch (cause) {
      return this.#stall(record, cause);
    }
    const { partition, offset } = record;
    log.error({ err: error, topic, group, partition, offset }, "bus: a record was given up");
    this.#passed([record]);
    return true;
  }

  /** Stops reading the partition for a while; then it is read again from this record on. */
  #stall({ partition }: BusRecord<Value>, error: unknown): false {
    const { clock, troubles } = this.#options;
    const ours = this.leases.partitions.get(partition);
    troubles.failed(this.#part, error);
    if (ours === undefined) return false;
    const failures = (ours.stall?.failures ?? 0) + 1;
    ours.stall = { failures, until: clock.elapsed() + doubledMs(backoff, failures) };
    return false;
  }

  #passed(records: readonly BusRecord<Value>[]): void {
    for (const { partition, offset } of records) {
      const ours = this.leases.partitions.get(partition);
      if (ours === undefined) continue;
      ours.stall = null;
      if (offset > ours.consumed) ours.consumed = offset;
    }
  }

  #sleep(): Promise<void> {
    const { clock } = this.#options;
    const until = Math.min(...this.#owned.map(([, { stall }]) => stall?.until ?? Number.POSITIVE_INFINITY));
    return new Promise((resolve) => {
      const end = () => {
        cancel();
        this.#endSleep = () => {};
        resolve();
      };
      const cancel = clock.after(Math.max(0, Math.min(pollMs, until - clock.elapsed())), end);
      this.#endSleep = end;
    });
  }
}
