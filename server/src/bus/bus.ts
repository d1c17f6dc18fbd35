import type { Db } from "../lib/query.ts";

/**
 * A partitioned, keyed, at-least-once log. Records of one key keep the commit order of their transactions, are consumed
 * by one process at a time, and repeat until their handler succeeds: handlers must be safe to run twice.
 */
export interface Bus {
  /**
   * Appends in the caller's transaction. Publish last and commit soon: it locks the heads of the partitions. Then call
   * `wake`.
   */
  publish(tx: Db, topic: string, records: readonly NewRecord[]): Promise<void>;
  /** For a statement that publishes itself: pass it to `bus_append(topic, partitions, counts, batches)`. */
  outboxOf(records: readonly NewRecord[]): Outbox;
  /** Wakes the consumers in every process after a commit; without it they poll within a second. */
  wake(topic: string): void;
  /** Starts at once. One subscription of a topic and group in a process. */
  subscribe<Value>(topic: string, group: string, consumer: Consumer<Value>): Subscription;
  lag(topic: string, group: string): Promise<number>;
  progress(topic: string, group: string): Promise<PartitionProgress[]>;
  /** The same in every process and engine. */
  partitionOf(key: string): number;
}

export interface NewRecord {
  readonly key: string;
  readonly value: unknown;
}

/** Records by partition, in parallel arrays. */
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
  /** The last consumed offset. For a partition held here, the one in memory, which may be ahead of the store. */
  readonly consumed: number;
  readonly waiting: number;
  /** False while `onAssigned` runs. */
  readonly isPrepared: boolean;
  /** Also `none` when the lease of the owner has ended. */
  readonly holder: "here" | "elsewhere" | "none";
}

export interface Consumer<Value> {
  /** Records in a call, about: a batch published as one is not split. */
  readonly maxBatch: number;
  /**
   * Without it, one call at a time gets records of all partitions. Otherwise each of at most this many partitions has
   * calls of its own, so that a slow one does not delay the others.
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
  /** The partitions are lost: another process may already handle them. */
  onRevoked?(partitions: readonly number[]): void;
}

export interface Subscription {
  owned(): readonly number[];
  /** For statements that must not run after ownership is lost: see `bus_held` in migration 0004. */
  readonly ownerId: string;
  /** Finishes the calls under way and gives the partitions back. Safe to call twice. */
  close(): Promise<void>;
}
