import type { Clock } from "../lib/clock.ts";
import type { Fanout } from "../lib/fanout/fanout.ts";
import { openNotifier } from "../lib/fanout/notifier.ts";
import { newId } from "../lib/ids.ts";
import { type Log, openPool, withSettings } from "../lib/postgres.ts";
import { type Db, one, run } from "../lib/query.ts";
import { repeat } from "../lib/repeat.ts";
import { openTroubles, type Troubles } from "../lib/troubles.ts";
import type { Bus } from "./bus.ts";
import { type PositionRow, readPositions } from "./cursors.ts";
import { outboxOf, partitionOf } from "./partition.ts";
import { rotateSegments } from "./segments.ts";
import { PostgresSubscription } from "./subscription.ts";

interface PostgresBusOptions {
  url: string;
  /** Wakes consumers in other processes; without a wake-up they poll within a second. Close it after the bus. */
  fanout: Fanout;
  clock: Clock;
  log: Log;
  /** Created when missing; publishing to another topic throws. */
  topics: readonly string[];
  /** Of new topics; existing ones keep theirs, and all have the same number. */
  partitions: number;
  /** A process that does not renew its leases for this long loses its partitions. */
  leaseMs: number;
  troubles?: Troubles;
}

const channel = "bus";
const segmentCheckMs = 1_000;

/** Migration 0004 says how it keeps its promises. Close it before the database. */
export async function openPostgresBus(options: PostgresBusOptions): Promise<Bus & AsyncDisposable> {
  const { url, fanout, clock, log, topics, leaseMs, troubles = openTroubles({ clock, log }) } = options;
  await using stack = new AsyncDisposableStack();
  const pool = openBusPool(url, log);
  stack.defer(() => pool.end());
  const partitions = await createTopics(pool, topics, options.partitions);
  const subscriptions = new Set<AnySubscription>();
  const wakeLocal = (topic: string | null) => {
    for (const subscription of subscriptions) if (topic === null || subscription.topic === topic) subscription.wake();
  };
  const notifier = openNotifier({ fanout, clock, channel });
  stack.defer(notifier.subscribe(wakeLocal));
  const segments = repeat(
    clock,
    segmentCheckMs,
    () => rotateSegments(pool),
    (error) => log.warn({ err: error }, "bus: segments were not rotated and are checked again within a second"),
  );
  stack.defer(() => segments.close());
  const opened = stack.move();

  return {
    async publish(tx, topic, records) {
      if (records.length === 0) return;
      const { partitions: places, counts, batches } = outboxOf(records, partitions);
      await run(tx, "SELECT bus_append($1, $2, $3, $4)", [topic, places, counts, batches]);
    },
    outboxOf: (records) => outboxOf(records, partitions),
    wake(topic) {
      const ours = [...subscriptions].filter((subscription) => subscription.topic === topic);
      const areAll = ours.length > 0 && ours.every((subscription) => subscription.leases.consumers === ours.length);
      if (areAll) wakeLocal(topic);
      else notifier.notify(topic);
    },
    subscribe(topic, group, consumer) {
      const ownerId = newId(clock.now());
      const onMoreConsumers = () => notifier.notify(topic);
      const place = { pool, clock, log, troubles, topic, group, ownerId, leaseMs };
      const subscription = new PostgresSubscription({ ...place, consumer, onMoreConsumers });
      subscriptions.add(subscription);
      return {
        ownerId,
        owned: () => [...subscription.leases.partitions.keys()],
        isReady: (partition) => subscription.leases.isReady(partition),
        close: () => subscription.close().finally(() => subscriptions.delete(subscription)),
      };
    },
    async lag(topic, group) {
      const positions = await readPositions(pool, topic, group);
      return positions.reduce((sum, { last_offset, consumed_offset }) => sum + last_offset - consumed_offset, 0);
    },
    async progress(topic, group) {
      const positions = await readPositions(pool, topic, group);
      const ours = [...subscriptions].find(
        (subscription) => subscription.topic === topic && subscription.group === group,
      );
      return positions.map((position) => progressOf(position, ours));
    },
    partitionOf: (key) => partitionOf(key, partitions),
    async [Symbol.asyncDispose]() {
      await Promise.all([...subscriptions].map((subscription) => subscription.close()));
      await opened.disposeAsync();
    },
  };
}

type AnySubscription = Pick<PostgresSubscription<unknown>, "topic" | "group" | "ownerId" | "wake" | "leases" | "close">;

/**
 * Cursors and leases need no durable commit: a lost one repeats records, which is allowed. Publishing uses the
 * publisher's connection and is as durable as that.
 */
function openBusPool(url: string, log: Log) {
  const relaxed = withSettings(url, [
    "role=chat4all_pipeline",
    "synchronous_commit=off",
    "enable_seqscan=off",
    "plan_cache_mode=force_generic_plan",
  ]);
  return openPool({ url: relaxed, size: 4, applicationName: "chat4all bus", log });
}

async function createTopics(db: Db, topics: readonly string[], partitions: number): Promise<number> {
  await run(
    db,
    `INSERT INTO bus_heads (topic, partition)
     SELECT topic, partition FROM unnest($1::text[]) topic,
       generate_series(0, coalesce((SELECT max(partition) FROM bus_heads), $2 - 1)) partition
     ON CONFLICT DO NOTHING`,
    [topics, partitions],
  );
  const row = await one<{ partitions: number }>(db, "SELECT max(partition) + 1 AS partitions FROM bus_heads");
  return row.partitions;
}

function progressOf({ partition, last_offset, consumed_offset, owner }: PositionRow, ours?: AnySubscription) {
  const holder = owner === null ? "none" : owner === ours?.ownerId ? "here" : "elsewhere";
  const standing = holder === "here" ? ours?.leases.partitions.get(partition) : undefined;
  const consumed = Math.max(consumed_offset, standing?.consumed ?? 0);
  return {
    partition,
    consumed,
    waiting: last_offset - consumed,
    isPrepared: standing?.isReady ?? true,
    holder,
  } as const;
}
