import { type Column, columnValues, rowsOf } from "../../lib/columns.ts";
import { all, type Db, run } from "../../lib/query.ts";
import { type Lane, maxQueued, type Waiting } from "./lanes.ts";
import type { Fence } from "./start-attempts.ts";

export function pendingLanes(
  db: Db,
  channel: string,
  partitions: readonly number[],
): Promise<Pick<Lane, "laneId" | "channelAccountId" | "partition">[]> {
  return all(
    db,
    `SELECT DISTINCT lane_id AS "laneId", channel_account_id AS "channelAccountId", partition FROM deliveries
     WHERE channel = $1 AND partition = ANY ($2) AND is_pending`,
    [channel, partitions],
  );
}

export interface PendingHead extends Waiting {
  /** Time until it is due by the database's clock; 0 or less when due. */
  waitMs: number;
}

/** The deliveries of each lane after its `lastOrdinal`, oldest first, at most `maxQueued`. */
export async function loadPending(db: Db, channel: string, lanes: readonly Lane[]): Promise<PendingHead[][]> {
  const rows = await all<PendingHead & { laneId: string }>(
    db,
    `SELECT i.lane_id AS "laneId", d.delivery_id AS "deliveryId", d.ordinal,
       coalesce(extract(epoch FROM d.next_attempt_at - now())::float8 * 1000, 0) AS "waitMs"
     FROM ${rowsOf(laneColumns, 3)}
     CROSS JOIN LATERAL (
       SELECT delivery_id, ordinal, next_attempt_at FROM deliveries
       WHERE channel = $1 AND partition = i.partition AND lane_id = i.lane_id AND is_pending AND ordinal > i.after
       ORDER BY ordinal LIMIT $2
     ) d
     ORDER BY i.lane_id, d.ordinal`,
    [channel, maxQueued, ...columnValues(laneColumns, lanes)],
  );
  const heads = Map.groupBy(rows, (row) => row.laneId);
  return lanes.map((lane) => heads.get(lane.laneId) ?? []);
}

const laneColumns: readonly Column<Lane>[] = [
  ["lane_id", "uuid", (lane) => lane.laneId],
  ["partition", "int", (lane) => lane.partition],
  ["after", "bigint", (lane) => lane.lastOrdinal],
];

/** From the start of an attempt without an owner. */
export interface RecoveryWait {
  ms: number;
  /** Of a request that may be under way: with a file it takes longer. */
  bytesPerMs: number;
}

/**
 * Records attempts without an owner as `unknown`. A delivery with a receipt is settled; the others are retried after the
 * wait: the request of a slow owner ends in this time, or a receipt arrives.
 */
export function recoverAttempts(
  db: Db,
  channel: string,
  partitions: readonly number[],
  now: Date,
  wait: RecoveryWait,
): Promise<number> {
  return recover(db, "d.channel = $5 AND d.partition = ANY ($6)", [channel, partitions], now, wait);
}

/** The same for one delivery: a former owner may commit the start of its attempt after `recoverAttempts` of the next. */
export function recoverAttempt(
  db: Db,
  { topic, group, ownerId }: Fence,
  deliveryId: string,
  now: Date,
  wait: RecoveryWait,
): Promise<number> {
  const which = "d.delivery_id = $5 AND d.partition IN (SELECT bus_held($6, $7, $8))";
  return recover(db, which, [deliveryId, topic, group, ownerId], now, wait);
}

function recover(db: Db, which: string, values: readonly unknown[], now: Date, wait: RecoveryWait): Promise<number> {
  return run(
    db,
    `WITH lost AS (
       UPDATE deliveries d SET
         attempt_started_at = NULL,
         error = CASE WHEN d.status < 'sent' THEN $3::jsonb ELSE d.error END,
         is_pending = d.status <> 'failed' AND coalesce(cardinality(d.provider_message_ids), 0) < d.part_count,
         next_attempt_at = o.attempt_started_at + interval '1 millisecond' * ($2::float8 + coalesce((
           SELECT f.bytes FROM messages m JOIN files f ON f.file_id = (m.payload ->> 'file_id')::uuid
           WHERE m.workspace_id = d.workspace_id AND m.message_id = d.message_id AND m.payload ->> 'type' = 'file'
         ), 0) / $4::float8)
       FROM deliveries o
       WHERE ${which} AND d.is_pending AND d.attempt_started_at IS NOT NULL AND o.delivery_id = d.delivery_id
       RETURNING d.delivery_id, d.attempts, o.attempt_started_at AS started_at
     )
     INSERT INTO attempts (delivery_id, number, started_at, finished_at, outcome, error)
     SELECT delivery_id, attempts, started_at, $1, 'unknown', $3::jsonb FROM lost ON CONFLICT DO NOTHING`,
    [now, wait.ms, JSON.stringify(processEnded), wait.bytesPerMs, ...values],
  );
}

const processEnded = {
  code: "UNKNOWN",
  message: "The sending process ended before the platform's response was recorded.",
};
