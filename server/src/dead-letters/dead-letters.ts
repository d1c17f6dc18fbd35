import { type Actor, recordAuditEvent } from "../audit/audit.ts";
import type { Bus, NewRecord } from "../bus/bus.ts";
import type { RequestDb } from "../database-roles.ts";
import { type LanePlace, publishOutgoing, wakeOutgoing } from "../deliveries/deliveries.ts";
import { notFound, RequestError } from "../errors.ts";
import { publishStatuses } from "../events/events.ts";
import {
  countFailedWebhooks,
  type FailedWebhook,
  failedWebhookCode,
  type InboundRecord,
  listFailedWebhooks,
  takeFailedWebhooks,
} from "../inbound/inbound.ts";
import type { Clock } from "../lib/clock.ts";
import { transaction } from "../lib/postgres.ts";
import { all, type Db, maybe, run } from "../lib/query.ts";
import type { DeliveryRow } from "../messages/messages.ts";
import { topics } from "../topics.ts";

/** A delivery that failed for good, or (`message`) a message that could not be routed. */
interface FailedDelivery extends DeliveryRow {
  kind: "delivery" | "message";
  conversation_id: string;
  failed_at: Date;
}

export type DeadLetter = FailedDelivery | ({ kind: "webhook" } & FailedWebhook);

interface DeadLetterFilter {
  channel?: string | undefined;
  code?: string | undefined;
}

interface DeadLetterQuery extends DeadLetterFilter {
  workspaceId: string;
  limit: number;
  after?: { at: Date; id: string } | undefined;
}

/** Deliveries that failed for good and were neither replayed, discarded nor superseded by a fallback; newest first. */
export async function listDeadLetters(db: Db, query: DeadLetterQuery): Promise<DeadLetter[]> {
  const deliveries = await listFailedDeliveries(db, query);
  const webhooks = await listFailedWebhooks(db, query);
  return [...deliveries, ...webhooks.map((webhook) => ({ kind: "webhook" as const, ...webhook }))]
    .sort((a, b) => b.failed_at.getTime() - a.failed_at.getTime() || (deadLetterId(a) < deadLetterId(b) ? 1 : -1))
    .slice(0, query.limit);
}

export function deadLetterId(letter: DeadLetter): string {
  return letter.kind === "webhook" ? letter.webhook_id : letter.delivery_id;
}

function listFailedDeliveries(db: Db, query: DeadLetterQuery): Promise<FailedDelivery[]> {
  const { workspaceId, channel, code, limit, after } = query;
  return all(
    db,
    `SELECT CASE WHEN unrouted IS NULL THEN 'delivery' ELSE 'message' END AS kind, delivery_id, message_id,
       conversation_id, recipient_id, channel, identifier, channel_account_id, status,
       provider_message_ids, attempts, error, next_attempt_at, sent_at, delivered_at, read_at, failed_at
     FROM deliveries
     WHERE workspace_id = $1 AND ${isDeadLetter} AND ${matches}
       AND ($4::timestamptz IS NULL OR (failed_at, delivery_id) < ($4, $5::uuid))
     ORDER BY failed_at DESC, delivery_id DESC LIMIT $6`,
    [workspaceId, channel ?? null, code ?? null, after?.at ?? null, after?.id ?? null, limit],
  );
}

/** A delivery may still be superseded until its fallback has started. */
const isDeadLetter = "is_dead_letter AND NOT is_superseded AND fallback_at IS NULL";
/** It has a lane, or a record for the router. Without either it never had a recipient. */
const isReplayable = "(lane_id IS NOT NULL OR unrouted IS NOT NULL)";
const matches = "($2::text IS NULL OR channel = $2) AND ($3::text IS NULL OR error ->> 'code' = $3)";

export interface ReplayDeps {
  db: RequestDb;
  bus: Bus;
  clock: Clock;
}

const replayBatchSize = 1_000;

/**
 * Replays one dead letter. A delivery goes to the end of its lane; a text in parts starts with the first part that
 * failed, and later receipts for the earlier parts are ignored. A message is routed again, after messages of its
 * conversation that were routed meanwhile. A webhook is read again. A second call throws RESOURCE_NOT_FOUND; a delivery
 * without a recipient throws CONFLICT.
 */
export async function replayDeadLetter(deps: ReplayDeps, by: Actor, id: string): Promise<void> {
  const { workspaceId } = by;
  const row = await maybe<{ is_replayable: boolean }>(
    deps.db,
    `SELECT ${isReplayable} AS is_replayable FROM deliveries
     WHERE delivery_id = $1 AND workspace_id = $2 AND ${isDeadLetter}`,
    [id, workspaceId],
  );
  if (row?.is_replayable === false) {
    throw new RequestError(
      "CONFLICT",
      "This delivery has no address. Give the recipient an address, or connect an account, and send a new message.",
    );
  }
  const type = row === null ? "webhook" : "delivery";
  const record = (tx: Db) => recordAuditEvent(tx, by, { action: "dead_letter.replayed", target: { type, id } });
  const revived =
    row === null
      ? await readAgain(deps, { workspaceId, webhookId: id, limit: 1 }, record)
      : await revive(deps, workspaceId, [id], record);
  if (revived === 0) throw notFound("dead letter");
}

/** The dead letters that a replay with this filter would take, by channel and error code. */
export async function countDeadLetters(
  db: Db,
  query: DeadLetterFilter & { workspaceId: string },
): Promise<{ channel: string; code: string; count: number }[]> {
  const { workspaceId, channel, code } = query;
  const deliveries = await all<{ channel: string; code: string; count: number }>(
    db,
    `SELECT channel, coalesce(error ->> 'code', 'UNKNOWN') AS code, count(*) AS count FROM deliveries
     WHERE workspace_id = $1 AND ${isDeadLetter} AND ${isReplayable} AND ${matches}
     GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2`,
    [workspaceId, channel ?? null, code ?? null],
  );
  const webhooks = await countFailedWebhooks(db, query);
  return [...deliveries, ...webhooks.map((row) => ({ ...row, code: failedWebhookCode }))];
}

/** Replays matching dead letters, oldest first, up to `replayBatchSize`. Returns how many. */
export async function replayDeadLetters(deps: ReplayDeps, by: Actor, filter: DeadLetterFilter): Promise<number> {
  const { workspaceId } = by;
  const { channel, code } = filter;
  const rows = await all<{ delivery_id: string }>(
    deps.db,
    `SELECT delivery_id FROM deliveries
     WHERE workspace_id = $1 AND ${isDeadLetter} AND ${isReplayable} AND ${matches}
     ORDER BY failed_at, delivery_id LIMIT $4`,
    [workspaceId, channel ?? null, code ?? null, replayBatchSize],
  );
  const ids = rows.map((row) => row.delivery_id);
  const record = (tx: Db, count: number) => {
    const details = { count, channel: channel ?? null, code: code ?? null };
    return recordAuditEvent(tx, by, { action: "dead_letters.replayed", details });
  };
  const revived = await revive(deps, workspaceId, ids, record);
  if (revived === replayBatchSize) return revived;
  return revived + (await readAgain(deps, { workspaceId, ...filter, limit: replayBatchSize - revived }, record));
}

async function readAgain(
  { db, bus }: ReplayDeps,
  chosen: Parameters<typeof takeFailedWebhooks>[1],
  record: (tx: Db, count: number) => Promise<unknown>,
): Promise<number> {
  const revived = await transaction(db, async (tx) => {
    const rows = await takeFailedWebhooks(tx, chosen);
    if (rows.length > 0) await record(tx, rows.length);
    await bus.publish(
      tx,
      topics.inbound,
      rows.map(({ webhook_id, channel_account_id }) => {
        return { key: channel_account_id, value: { webhookId: webhook_id } satisfies InboundRecord };
      }),
    );
    return rows.length;
  });
  if (revived > 0) bus.wake(topics.inbound);
  return revived;
}

async function revive(
  { db, bus, clock }: ReplayDeps,
  workspaceId: string,
  deliveryIds: string[],
  record: (tx: Db, count: number) => Promise<unknown>,
): Promise<number> {
  if (deliveryIds.length === 0) return 0;
  const revived = await transaction(db, async (tx) => {
    const unrouted = await takeUnrouted(tx, workspaceId, deliveryIds);
    const rows = await all<LanePlace>(
      tx,
      `WITH chosen AS MATERIALIZED (
         SELECT delivery_id, channel_account_id, provider_message_ids AS ids, CASE
           WHEN part_count = 1 THEN 0
           ELSE coalesce((SELECT min(p.place) - 1 FROM unnest(provider_message_ids) WITH ORDINALITY AS p (id, place)
             WHERE part_receipts ->> p.id = 'failed'), cardinality(provider_message_ids), 0)
         END AS kept
         FROM deliveries
         WHERE workspace_id = $1 AND delivery_id = ANY ($2) AND ${isDeadLetter} AND lane_id IS NOT NULL
         ORDER BY failed_at, delivery_id FOR UPDATE
       ), forgotten AS (
         UPDATE provider_messages m SET delivery_id = NULL
         FROM (SELECT channel_account_id, unnest(ids[kept + 1:]) AS id FROM chosen) f
         WHERE m.channel_account_id = f.channel_account_id AND m.provider_message_id = f.id
       )
       UPDATE deliveries d SET is_pending = true, is_dead_letter = false, failed_at = NULL,
         error = NULL, retry_from = NULL, next_attempt_at = NULL, ordinal = DEFAULT,
         provider_message_ids = ids[:kept], part_receipts = part_receipts - ids[kept + 1:],
         history = delivery_history(d), started_at = NULL,
         sent_at = NULL, delivered_at = NULL, read_at = NULL
       FROM chosen
       WHERE d.delivery_id = chosen.delivery_id
       RETURNING d.delivery_id AS "deliveryId", d.lane_id AS "laneId", d.channel,
         d.channel_account_id AS "channelAccountId", d.ordinal`,
      [workspaceId, deliveryIds],
    );
    await publishOutgoing(bus, tx, rows);
    await bus.publish(tx, topics.messageProcessing, unrouted);
    const count = rows.length + unrouted.length;
    if (count > 0) await record(tx, count);
    await recordReplayed(tx, rows, new Date(clock.now()));
    return { rows, count };
  });
  wakeOutgoing(bus, revived.rows);
  if (revived.count > revived.rows.length) bus.wake(topics.messageProcessing);
  return revived.count;
}

/** Takes messages that could not be routed, as records for the router. Their failed deliveries stay as history. */
async function takeUnrouted(tx: Db, workspaceId: string, deliveryIds: string[]): Promise<NewRecord[]> {
  const rows = await all<{ conversation_id: string; unrouted: unknown; seq: number }>(
    tx,
    `UPDATE deliveries SET is_dead_letter = false
     WHERE workspace_id = $1 AND delivery_id = ANY ($2) AND ${isDeadLetter} AND unrouted IS NOT NULL
     RETURNING conversation_id, unrouted, seq`,
    [workspaceId, deliveryIds],
  );
  return rows.sort((a, b) => a.seq - b.seq).map((row) => ({ key: row.conversation_id, value: row.unrouted }));
}

/**
 * Last: the statement that changes a status takes the lock of the feed, the last one of every transaction. An audit
 * event written after it could deadlock with a change of a conversation, whose event is written at the commit.
 */
async function recordReplayed(tx: Db, rows: readonly LanePlace[], now: Date): Promise<void> {
  await run(
    tx,
    `WITH replayed AS (UPDATE deliveries SET status = 'in_transit', status_before = status, sent_by = NULL,
       history = history || jsonb_strip_nulls(jsonb_build_object('status', 'in_transit', 'at', $2::timestamptz,
         'cause', 'replayed', 'attempt_batch_id', sent_by))
     WHERE delivery_id = ANY ($1)
     RETURNING *)
     ${publishStatuses({ from: "replayed d" })}`,
    [rows.map((row) => row.deliveryId), now],
  );
}

/** The delivery stays failed. Throws RESOURCE_NOT_FOUND when it is not a dead letter. */
export async function discardDeadLetter(db: RequestDb, by: Actor, id: string): Promise<void> {
  const { workspaceId } = by;
  await transaction(db, async (tx) => {
    const discarded = await run(
      tx,
      `UPDATE deliveries SET is_dead_letter = false WHERE delivery_id = $1 AND workspace_id = $2 AND ${isDeadLetter}`,
      [id, workspaceId],
    );
    const isWebhook = discarded === 0;
    if (isWebhook && (await takeFailedWebhooks(tx, { workspaceId, webhookId: id, limit: 1 })).length === 0) {
      throw notFound("dead letter");
    }
    const target = { type: isWebhook ? "webhook" : "delivery", id };
    await recordAuditEvent(tx, by, { action: "dead_letter.discarded", target });
  });
}
