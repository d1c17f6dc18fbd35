import type { PipelineDb } from "../database-roles.ts";
import type { Clock } from "../lib/clock.ts";
import { isIdOf } from "../lib/partitions.ts";
import { transaction } from "../lib/postgres.ts";
import { all, type Db, maybe, run } from "../lib/query.ts";

export const hourMs = 60 * 60_000;
const dayMs = 24 * hourMs;
/** The longest period of statistics; older hours are neither counted nor kept. */
export const longestPeriodMs = 30 * dayMs;
/** After its end: what is being written is committed by then. */
const settleMs = 5 * 60_000;
/** Ages, from its start, at which an hour is counted again. */
const againMs = [dayMs, 7 * dayMs];

export const hourOf = (ms: number) => Math.floor(ms / hourMs) * hourMs;

/** Counts the hours that are over and not counted, or due to be counted again. Returns how many. Safe in several processes. */
export async function countHours({ db, clock }: { db: PipelineDb; clock: Clock }): Promise<number> {
  const now = clock.now();
  const oldest = new Date(hourOf(now - longestPeriodMs));
  await run(db, "DELETE FROM hourly_counts WHERE hour < $1", [oldest]);
  await run(db, "DELETE FROM counted_hours WHERE hour < $1", [oldest]);
  const first = await maybe<{ first: Date | null }>(db, "SELECT min(created_at) AS first FROM workspaces");
  if (!first?.first) return 0;
  const from = Math.max(oldest.getTime(), hourOf(first.first.getTime()));
  const hours = await all<{ hour: Date }>(
    db,
    `SELECT h.hour FROM generate_series($1::timestamptz, $2::timestamptz, interval '1 hour') AS h (hour)
     LEFT JOIN counted_hours c ON c.hour = h.hour
     WHERE c.hour IS NULL OR EXISTS (
       SELECT FROM unnest($3::float8[]) AS again (ms)
       WHERE c.counted_at < h.hour + again.ms * interval '1 millisecond' AND $4 >= h.hour + again.ms * interval '1 millisecond')
     ORDER BY h.hour`,
    [new Date(from), new Date(hourOf(now - settleMs) - hourMs), againMs, new Date(now)],
  );
  for (const { hour } of hours) await transaction(db, (tx) => countHour(tx, hour, new Date(now)));
  return hours.length;
}

/** In a transaction. */
export async function countHour(tx: Db, hour: Date, now: Date): Promise<void> {
  const last = new Date(hour.getTime() + hourMs - 1);
  // Another process that counts the same hour waits here.
  await run(
    tx,
    `INSERT INTO counted_hours (hour, counted_at) VALUES ($1, $2)
     ON CONFLICT (hour) DO UPDATE SET counted_at = excluded.counted_at`,
    [hour, now],
  );
  await run(tx, "DELETE FROM hourly_counts WHERE hour = $1", [hour]);
  await run(
    tx,
    `INSERT INTO hourly_counts (workspace_id, hour, counted, channel, state, count)
     SELECT workspace_id, $1::timestamptz, 'delivery', channel, status::text, count(*) FROM deliveries
     WHERE ${isIdOf("delivery_id", "$1::timestamptz", "$2::timestamptz")} GROUP BY workspace_id, channel, status`,
    [hour, last],
  );
  await run(
    tx,
    `INSERT INTO hourly_counts (workspace_id, hour, counted, channel, state, count)
     SELECT workspace_id, $1::timestamptz, 'message', coalesce(origin ->> 'channel', ''), direction, count(*) FROM messages
     WHERE created_at >= $1 AND created_at < $1::timestamptz + interval '1 hour' GROUP BY workspace_id, 4, direction`,
    [hour],
  );
}

/** The end of the last hour that was counted, before which all are; null for none. */
export async function countedUntil(db: Db): Promise<Date | null> {
  const row = await maybe<{ until: Date | null }>(
    db,
    "SELECT max(hour) + interval '1 hour' AS until FROM counted_hours",
  );
  return row?.until ?? null;
}
