import type { Db } from "../lib/query.ts";

/**
 * A partitioned, keyed, at-least-once log. Records of one key keep the commit order of their transactions, are consumed
 * by one process at a time, and repeat until their handler succeeds: handlers must be safe to run twice.
 */
export interface Bus {
  /** In the caller's transaction. Publish last, since it locks the heads of the partitions, commit, and call `wake`. */
  publish(tx: Db, topic: string, records: readonly NewRecord[]): Promise<void>;
  /** For a statement that publishes itself: pass it to `bus_append(topic, partitions, counts, batches)`. */
  outboxOf(records: readonly NewRecord[]): Outbox;
  /** Wakes the consumers in every process after a commit; without it they poll within a second. */
  wake(topic: string): void;
  /** Starts at once. One subscription of a topic and group in a process. */
  subscribe<Value>(topic: string, group: string, consumer: Consumer<Value>): Subscription;
  lag(topic: string, group: string): Promise<number>;
  progress(topic: string, group: string): Promise<PartitionProgress[]>;
  partitionOf(key: string): number;
}

export interface NewRecord {
  readonly key: string;
  readonly value: unknown;
}

export interface Outbox {
  readonly partitions: number[];
  readonly counts: number[];
  /** By partition: each a JSON array of `[key, value]` pairs, oldest first. */
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
  /** The last consumed offset. For a partition held here, the one in memory, which may be ahead of the store. */
  readonly consumed: number;
  readonly waiting: number;
  readonly isPrepared: boolean;
  /** Also `none` when the lease of the owner has ended. */
  readonly holder: "here" | "elsewhere" | "none";
}

export interface Consumer<Value> {
  /** Records in a call, about: a batch published as one is not split. */
  readonly maxBatch: number;
  /** One call for each of so many partitions: a slow one does not delay the others. Default: one call for all. */
  readonly partitionsAtOnce?: number;
  /**
   * Records of owned partitions, in order, with one call at a time for a partition. After a failure they are retried one
   * by one: a record that fails for a reason of its own (`isRecordFault`) four times, other failures until they end.
   */
  handle(records: readonly BusRecord<Value>[]): Promise<void>;
  /** Stores a dead letter; then the partition continues. May run twice. Without it the record is retried like others. */
  giveUp?(record: BusRecord<Value>, error: unknown): Promise<void>;
  /** Before the first record of partitions that this process now owns. */
  onAssigned?(partitions: readonly number[]): Promise<void>;
  /** The partitions are lost: another process may already handle them. */
  onRevoked?(partitions: readonly number[]): void;
}

export interface Subscription {
  owned(): readonly number[];
  /** Whether it owns the partition, and has prepared it (`onAssigned`). */
  isReady(partition: number): boolean;
  /** For statements that must not run after ownership is lost: see `bus_held` in migration 0004. */
  readonly ownerId: string;
  /** Finishes the calls under way and gives the partitions back. Safe to call twice. */
  close(): Promise<void>;
}
