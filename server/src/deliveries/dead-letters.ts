import { type Actor, recordAct } from "../audit/audit.ts";
import type { Bus } from "../bus/bus.ts";
import { notFound, RequestError } from "../errors.ts";
import type { Clock } from "../lib/clock.ts";
import { type Pool, transaction } from "../lib/postgres.ts";
import { all, type Db, maybe, run } from "../lib/query.ts";
import type { DeliveryRow } from "../messages/show.ts";
import { type LanePlace, publishOutgoing, wakeOutgoing } from "./outgoing.ts";

export interface DeadLetterRow extends DeliveryRow {
  conversation_id: string;
  failed_at: Date;
}

export interface DeadLetterQuery {
  workspaceId: string;
  channel?: string | undefined;
  code?: string | undefined;
  limit: number;
  after?: { at: Date; id: string } | undefined;
}

/** Deliveries that failed for good and were neither replayed nor discarded, newest first. */
export function listDeadLetters(db: Db, query: DeadLetterQuery): Promise<DeadLetterRow[]> {
  const { workspaceId, channel, code, limit, after } = query;
  return all(
    db,
    `SELECT delivery_id, message_id, conversation_id, recipient_id, channel, identifier, channel_account_id, status,
       provider_message_ids, attempts, error, next_attempt_at, sent_at, delivered_at, read_at, failed_at
     FROM deliveries
     WHERE workspace_id = $1 AND is_dead_letter
       AND ($2::text IS NULL OR channel = $2) AND ($3::text IS NULL OR error ->> 'code' = $3)
       AND ($4::timestamptz IS NULL OR (failed_at, delivery_id) < ($4, $5::uuid))
     ORDER BY failed_at DESC, delivery_id DESC LIMIT $6`,
    [workspaceId, channel ?? null, code ?? null, after?.at ?? null, after?.id ?? null, limit],
  );
}

export interface ReplayDeps {
  db: Pool;
  bus: Bus;
  clock: Clock;
}

/** Most dead letters that one call replays. */
export const replayBatchSize = 1_000;

/**
 * Sends a dead letter again, behind what its lane has waiting: all of it, or, of a text in parts, from the first part that
 * did not get through. What the platform still says of what it had got before has no effect any more. A second call finds it alive and throws
 * RESOURCE_NOT_FOUND; one that never had a lane (nobody was reachable) throws CONFLICT.
 */
export async function replayDeadLetter(deps: ReplayDeps, by: Actor, deliveryId: string): Promise<void> {
  const row = await maybe<{ lane_id: string | null }>(
    deps.db,
    "SELECT lane_id FROM deliveries WHERE delivery_id = $1 AND workspace_id = $2 AND is_dead_letter",
    [deliveryId, by.workspaceId],
  );
  if (row === null) throw notFound("dead letter");
  if (row.lane_id === null) {
    throw new RequestError(
      "CONFLICT",
      "Nobody was reachable for this one: give the recipient an address, or connect an account, and send a new message.",
    );
  }
  const act = { action: "dead_letter.replayed", target: { type: "delivery", id: deliveryId } };
  const revived = await revive(deps, by.workspaceId, [deliveryId], (tx) => recordAct(tx, by, act));
  if (revived === 0) throw notFound("dead letter");
}

/** Replays what matches, oldest first, `replayBatchSize` at the most. Returns how many. */
export async function replayDeadLetters(
  deps: ReplayDeps,
  by: Actor,
  filter: { channel?: string | undefined; code?: string | undefined },
): Promise<number> {
  const rows = await all<{ delivery_id: string }>(
    deps.db,
    `SELECT delivery_id FROM deliveries
     WHERE workspace_id = $1 AND is_dead_letter AND lane_id IS NOT NULL
       AND ($2::text IS NULL OR channel = $2) AND ($3::text IS NULL OR error ->> 'code' = $3)
     ORDER BY failed_at, delivery_id LIMIT $4`,
    [by.workspaceId, filter.channel ?? null, filter.code ?? null, replayBatchSize],
  );
  return revive(
    deps,
    by.workspaceId,
    rows.map((row) => row.delivery_id),
    (tx, count) => {
      const details = { count, channel: filter.channel ?? null, code: filter.code ?? null };
      return recordAct(tx, by, { action: "dead_letters.replayed", details });
    },
  );
}

async function revive(
  { db, bus, clock }: ReplayDeps,
  workspaceId: string,
  deliveryIds: string[],
  record: (tx: Db, count: number) => Promise<unknown>,
): Promise<number> {
  if (deliveryIds.length === 0) return 0;
  const revived = await transaction(db, async (tx) => {
    const rows = await all<LanePlace>(
      tx,
      `WITH chosen AS MATERIALIZED (
         SELECT delivery_id, channel_account_id, provider_message_ids AS ids, CASE
           WHEN part_count = 1 THEN 0
           ELSE coalesce((SELECT min(p.place) - 1 FROM unnest(provider_message_ids) WITH ORDINALITY AS p (id, place)
             WHERE part_receipts ->> p.id = 'failed'), cardinality(provider_message_ids), 0)
         END AS kept
         FROM deliveries
         WHERE workspace_id = $1 AND delivery_id = ANY ($2) AND is_dead_letter AND lane_id IS NOT NULL
         ORDER BY failed_at, delivery_id FOR UPDATE
       ), forgotten AS (
         UPDATE provider_messages m SET delivery_id = NULL
         FROM (SELECT channel_account_id, unnest(ids[kept + 1:]) AS id FROM chosen) f
         WHERE m.channel_account_id = f.channel_account_id AND m.provider_message_id = f.id
       )
       UPDATE deliveries d SET is_pending = true, is_dead_letter = false, failed_at = NULL,
         error = NULL, retry_from = NULL, next_attempt_at = NULL, ordinal = DEFAULT,
         provider_message_ids = ids[:kept], part_receipts = part_receipts - ids[kept + 1:],
         sent_at = NULL, delivered_at = NULL, read_at = NULL
       FROM chosen
       WHERE d.delivery_id = chosen.delivery_id
       RETURNING d.delivery_id, d.lane_id, d.channel, d.channel_account_id, d.ordinal`,
      [workspaceId, deliveryIds],
    );
    await publishOutgoing(bus, tx, rows);
    if (rows.length > 0) await record(tx, rows.length);
    await tellReplayed(tx, rows, new Date(clock.now()));
    return rows;
  });
  wakeOutgoing(bus, revived);
  return revived.length;
}

/**
 * After all else: the statement that changes a status takes the lock of the feed, which is the last one. Who records an act
 * after it waits in a ring with who changes a conversation, whose event is told at the commit.
 */
async function tellReplayed(tx: Db, rows: readonly LanePlace[], now: Date): Promise<void> {
  await run(
    tx,
    `UPDATE deliveries SET status = 'in_transit',
       history = history || jsonb_build_object('status', 'in_transit', 'at', $2::timestamptz, 'cause', 'replayed')
     WHERE delivery_id = ANY ($1)`,
    [rows.map((row) => row.delivery_id), now],
  );
}

/** Takes it out of the dead letters; the delivery stays failed. Throws RESOURCE_NOT_FOUND when it is none. */
export async function discardDeadLetter(db: Pool, by: Actor, deliveryId: string): Promise<void> {
  await transaction(db, async (tx) => {
    const discarded = await run(
      tx,
      "UPDATE deliveries SET is_dead_letter = false WHERE delivery_id = $1 AND workspace_id = $2 AND is_dead_letter",
      [deliveryId, by.workspaceId],
    );
    if (discarded === 0) throw notFound("dead letter");
    await recordAct(tx, by, { action: "dead_letter.discarded", target: { type: "delivery", id: deliveryId } });
  });
}
