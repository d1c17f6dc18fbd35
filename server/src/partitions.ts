import { deleteOldProviderMessages } from "./deliveries/deliveries.ts";
import { webhookRetentionMs } from "./inbound/inbound.ts";
import type { Clock } from "./lib/clock.ts";
import { dropPartitions, makePartitions, type PartitionedTable, type Period } from "./lib/partitions.ts";
import type { Log, Pool } from "./lib/postgres.ts";

/**
 * The tables with partitions by time, see migration 0031. Deliveries are last: whether they are pending decides whether
 * the messages and attempts of their time are dropped.
 */
function partitionedTables(messageRetentionMs: number | null): readonly PartitionedTable[] {
  const period = periodOf(messageRetentionMs);
  return [
    { name: "webhooks", period: "week" },
    { name: "messages", period },
    { name: "attempts", period },
    { name: "attempt_batches", period },
    { name: "deliveries", period },
  ];
}

const dayMs = 86_400_000;

/** Every statement on a table costs more with each of its partitions: so about ten are kept, for any retention. */
function periodOf(retentionMs: number | null): Period {
  if (retentionMs === null || retentionMs > 730 * dayMs) return "year";
  return retentionMs > 180 * dayMs ? "quarter" : "month";
}

interface Deps {
  db: Pool;
  clock: Clock;
  messageRetentionMs: number | null;
}

/** At the start, and then by a maintenance job. */
export function makeMissingPartitions(deps: Deps, now: Date): Promise<void> {
  return makePartitions(deps, partitionedTables(deps.messageRetentionMs), now);
}

/** Drops what is too old. A maintenance job. */
export async function dropOldPartitions(deps: Deps & { log: Log }, now: number): Promise<void> {
  const { db, log, messageRetentionMs } = deps;
  for (const table of partitionedTables(messageRetentionMs)) {
    const retentionMs = table.name === "webhooks" ? webhookRetentionMs : messageRetentionMs;
    if (retentionMs === null) continue;
    const needed = await dropPartitions(deps, table, new Date(now - retentionMs));
    for (const partition of needed)
      log.warn({ partition }, "old messages are kept, because some of their deliveries are still pending");
  }
  if (messageRetentionMs !== null) await deleteOldProviderMessages(db, new Date(now - messageRetentionMs), now);
}
