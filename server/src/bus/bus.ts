import type { Db } from "../lib/query.ts";

/**
 * A partitioned, keyed, at-least-once log. Records of one key stay in the order in which their transactions committed,
 * are consumed by one process at a time, and come again until their handler succeeded: handlers run safely twice.
 */
export interface Bus {
  /**
   * Appends in the caller's transaction: what rolls back was never published. Publish last in a transaction and commit
   * soon, for it holds the partitions' heads until then; then call `wake`.
   */
  publish(tx: Db, topic: string, records: readonly NewRecord[]): Promise<void>;
  /**
   * The same for a statement that publishes on its own: hand it to `bus_append(topic, partitions, counts, batches)`.
   */
  outboxOf(records: readonly NewRecord[]): Outbox;
  /** Wakes the consumers in every process after a commit; without it they poll within a second. */
  wake(topic: string): void;
  /** Starts consuming at once. A topic and group has one subscription in a process. */
  subscribe<Value>(topic: string, group: string, consumer: Consumer<Value>): Subscription;
  /** Records published and not yet consumed by the group. */
  lag(topic: string, group: string): Promise<number>;
  /** The group's position in each partition of the topic. */
  progress(topic: string, group: string): Promise<PartitionProgress[]>;
  /** Where a key's records go; the same in every process and engine. */
  partitionOf(key: string): number;
}

export interface NewRecord {
  readonly key: string;
  readonly value: unknown;
}

/** Records by partition, ready for SQL; the arrays run in parallel. */
export interface Outbox {
  readonly partitions: number[];
  readonly counts: number[];
  /** Each a JSON array of `[key, value]` pairs, oldest first. */
  readonly batches: string[];
}

export interface BusRecord<Value> {
  readonly partition: number;
  /** Rises by one within a partition. */
  readonly offset: number;
  readonly key: string;
  readonly value: Value;
}

export interface PartitionProgress {
  readonly partition: number;
  /**
   * The offset of the last consumed record. For a partition held here, the position in memory, which may be ahead of
   * the store.
   */
  readonly consumed: number;
  /** Records after it. */
  readonly waiting: number;
  /** False while `onAssigned` runs. */
  readonly isPrepared: boolean;
  /** `none` too when the owner's lease has ended. */
  readonly holder: "here" | "elsewhere" | "none";
}

export interface Consumer<Value> {
  /** Records to a call, about: a batch published as one is never torn. */
  readonly maxBatch: number;
  /**
   * If left out, records of all partitions come in one call, one call at a time. Otherwise each partition has calls of
   * its own, for at most so many partitions at once, so that a slow partition does not hold up others.
   */
  readonly partitionsAtOnce?: number;
  /**
   * Handles records of owned partitions, in order for each partition, with one call at a time for a partition. When it
   * throws, the same records come again, one by one. A record that fails for a reason of its own (`isRecordFault`)
   * is given up after four tries; any other failure is retried with backoff until it works, and delays only its partition.
   */
  handle(records: readonly BusRecord<Value>[]): Promise<void>;
  /**
   * Called for a record that is given up: store it as a dead letter. The partition continues when this returns. May run
   * twice. Without it such a record is retried like others.
   */
  giveUp?(record: BusRecord<Value>, error: unknown): Promise<void>;
  /** Before the first record of partitions that this process now owns. */
  onAssigned?(partitions: readonly number[]): Promise<void>;
  /** As soon as partitions are no longer ours: another process may be at work on them already. */
  onRevoked?(partitions: readonly number[]): void;
}

export interface Subscription {
  /** Partitions owned right now. */
  owned(): readonly number[];
  /** Proof of ownership, for statements that must not run once it is lost: see `bus_held` in migration 0004. */
  readonly ownerId: string;
  /** Finishes the call under way, gives the partitions back, and stops. Safe to call twice. */
  close(): Promise<void>;
}
