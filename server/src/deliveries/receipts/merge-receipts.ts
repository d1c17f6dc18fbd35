import { publishStatuses } from "../../events/events.ts";
import { type Column, columnValues, rowsOf } from "../../lib/columns.ts";
import { toStorable } from "../../lib/json.ts";
import { allPrepared, type Db } from "../../lib/query.ts";
import type { LanePlace } from "../outgoing.ts";

export interface Receipt {
  channelAccountId: string;
  providerMessageId: string;
  deliveryId: string | null;
  status: "sent" | "delivered" | "read" | "failed";
  error: { code: string; message: string } | null;
  /** By the platform's clock. */
  at: Date;
  webhookId: string | null;
}

/** The receipts of one part of a delivery. */
export type PartReceipts = readonly Receipt[];

/** The receipts of each part, by delivery: deliveries are locked in this order, to avoid deadlocks. */
export function byPart(receipts: readonly Receipt[]): PartReceipts[] {
  const parts = Map.groupBy(
    receipts,
    ({ deliveryId, channelAccountId, providerMessageId }) => `${deliveryId} ${channelAccountId} ${providerMessageId}`,
  );
  return [...parts].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, part]) => part);
}

export const found = (part: PartReceipts, status: Receipt["status"]) =>
  part.find((receipt) => receipt.status === status);

export const highest = (part: PartReceipts) =>
  (found(part, "read") ?? found(part, "delivered") ?? found(part, "sent"))?.status;

export const idColumns: readonly Column<PartReceipts>[] = [
  ["delivery_id", "uuid", ([receipt]) => receipt!.deliveryId],
  ["channel_account_id", "uuid", ([receipt]) => receipt!.channelAccountId],
  ["provider_message_id", "text", ([receipt]) => receipt!.providerMessageId],
];

export const timeColumns = (...statuses: Receipt["status"][]): readonly Column<PartReceipts>[] =>
  statuses.flatMap((status): Column<PartReceipts>[] => [
    [`${status}_at`, "timestamptz", (part) => found(part, status)?.at.toISOString()],
    [`${status}_by`, "uuid", (part) => found(part, status)?.webhookId],
  ]);

/** Those of a statement's rows that have a place among the parts. */
export function partsAt(parts: readonly PartReceipts[], rows: readonly { place: number | null }[]): PartReceipts[] {
  return rows.flatMap(({ place }) => (place === null ? [] : [parts[place - 1]!]));
}

/** What must be stored in the same commit: a common table expression whose parameters begin at `$first`. */
export interface StoredWith {
  text: (first: number) => string;
  values: readonly unknown[];
}

interface Merged {
  /** Deliveries that waited for a receipt: they are settled, or their next part is due. */
  released: LanePlace[];
  /**
   * Of texts in parts whose attempt is under way: which part an unknown id belongs to is known with the response.
   */
  unknown: PartReceipts[];
}

/** Receipts of an earlier sending, before a replay or a repeated attempt, have no effect. */
export async function mergeReceipts(db: Db, parts: readonly PartReceipts[], now: Date): Promise<Merged> {
  const { rows } = await db.query<LanePlace & { place: number | null }>({
    name: "merge_receipts",
    text: statement,
    values: [...columnValues(columns, parts), now],
  });
  return { released: rows.filter((row) => row.deliveryId !== null), unknown: partsAt(parts, rows) };
}

/**
 * Which parts `mergeReceipts` would still apply, and which are unknown for now. A webhook may report thousands of ids for
 * one delivery: those that are neither are left out, instead of taking a statement each.
 */
export async function sortOut(
  db: Db,
  parts: readonly PartReceipts[],
): Promise<{ left: PartReceipts[]; unknown: PartReceipts[] }> {
  if (parts.length === 0) return { left: [], unknown: [] };
  const rows = await allPrepared<{ place: number; is_unknown: boolean }>(
    db,
    "sort_out_receipts",
    sorting,
    columnValues(idColumns, parts),
  );
  const { left = [], unknown = [] } = Object.groupBy(rows, (row) => (row.is_unknown ? "unknown" : "left"));
  return { left: partsAt(parts, left), unknown: partsAt(parts, unknown) };
}

const ids = "coalesce(d.provider_message_ids, '{}')";
const isKnown = `i.provider_message_id = ANY (${ids})`;
// An unknown id is that of the attempt under way, or of one without a response. Of a text in parts, only one without a
// response: while an attempt is under way, it may be the id of any part. An id that is known to have no delivery is of a
// sending before the last replay.
const isLearned = `cardinality(${ids}) < d.part_count
  AND (d.part_count = 1 OR d.is_pending AND d.attempt_started_at IS NULL)
  AND NOT EXISTS (SELECT FROM provider_messages p WHERE p.channel_account_id = i.channel_account_id
    AND p.provider_message_id = i.provider_message_id AND p.delivery_id IS NULL)`;
const isUnknown = `d.part_count > 1 AND d.attempt_started_at IS NOT NULL AND NOT ${isKnown}`;
const sorting = `
SELECT i.place, ${isUnknown} AS is_unknown
FROM ${rowsOf(idColumns)} JOIN deliveries d USING (delivery_id, channel_account_id)
WHERE ${isUnknown} OR ${isKnown} OR ${isLearned} ORDER BY i.place`;
const newIds = `CASE WHEN ${isKnown} OR NOT (${isLearned}) THEN ${ids} ELSE ${ids} || i.provider_message_id END`;
const hasFailed = "i.failed_at IS NOT NULL";
const newParts = `coalesce(d.part_receipts, '{}') || CASE WHEN ${isKnown} OR ${isLearned} THEN jsonb_build_object(i.provider_message_id,
  next_status(coalesce((d.part_receipts ->> i.provider_message_id)::delivery_status, 'in_transit'), i.reported, ${hasFailed})) ELSE '{}' END`;
const ofParts = `status_of_parts(${newIds}, d.part_count, ${newParts})`;
const next = `CASE WHEN d.part_count = 1 THEN next_status(d.status, i.reported, ${hasFailed})
  ELSE next_status(d.status, nullif(${ofParts}, 'failed'), coalesce(${ofParts} = 'failed', false)) END`;
/** SQL: what a delivery went through from one status to another, with the platform's time and the webhook of each. */
const changes = (before: string, after: string) => `(
  SELECT * FROM (VALUES
    ('sent'::delivery_status, coalesce(i.sent_at, CASE WHEN ${after} = 'sent' THEN i.first_at END), coalesce(i.sent_by, i.first_by)),
    ('delivered', coalesce(i.delivered_at, CASE WHEN ${after} = 'delivered' THEN i.first_at END),
      coalesce(i.delivered_by, i.first_by)),
    ('read', i.read_at, i.read_by), ('failed', i.failed_at, i.failed_by)
  ) AS r (status, platform_at, webhook_id)
  WHERE r.platform_at IS NOT NULL AND r.status <= ${after} AND CASE
    WHEN ${after} = 'failed' THEN r.status = 'failed' AND ${before} <> 'failed'
    ELSE ${before} < r.status OR ${before} = 'failed' AND r.status >= 'delivered' END)`;

const columns: readonly Column<PartReceipts>[] = [
  ...idColumns,
  ["reported", "delivery_status", highest],
  ...timeColumns("sent", "delivered", "read", "failed"),
  ["error", "jsonb", (part) => errorOf(found(part, "failed"))],
];
const errorOf = (failed?: Receipt) => failed && toStorable(JSON.stringify(failed.error));
const now = `$${columns.length + 1}::timestamptz`;
const statement = `
WITH input AS MATERIALIZED (
  SELECT *, least(sent_at, delivered_at, read_at, failed_at) AS first_at,
    coalesce(sent_by, delivered_by, read_by, failed_by) AS first_by
  FROM ${rowsOf(columns)}
), updated AS (
  UPDATE deliveries d SET
    status_before = d.status,
    (status, is_pending, next_attempt_at, provider_message_ids, part_receipts, is_dead_letter, error, sent_at, delivered_at,
      read_at, failed_at, started_at, delivered_by, read_by, history) = (
    SELECT n.status,
      d.is_pending AND (d.attempt_started_at IS NOT NULL OR n.status <> 'failed' AND cardinality(n.ids) < d.part_count),
      CASE WHEN ${isKnown} THEN d.next_attempt_at END,
      n.ids,
      CASE WHEN d.part_count > 1 THEN ${newParts} END,
      n.status = 'failed' AND (d.is_dead_letter OR d.status <> 'failed'),
      CASE WHEN n.status = 'failed' THEN CASE WHEN d.status = 'failed' THEN d.error ELSE i.error END
        WHEN n.status = d.status THEN d.error END,
      coalesce(d.sent_at, CASE WHEN n.status IN ('sent', 'delivered', 'read') THEN greatest(i.first_at, d.retry_from) END),
      coalesce(d.delivered_at, CASE WHEN n.status IN ('delivered', 'read')
        THEN greatest(coalesce(i.delivered_at, i.read_at), d.sent_at, d.retry_from) END),
      coalesce(d.read_at, CASE WHEN n.status = 'read'
        THEN greatest(i.read_at, d.delivered_at, d.sent_at, d.retry_from) END),
      CASE WHEN n.status = 'failed' THEN coalesce(d.failed_at, ${now}) END,
      CASE WHEN n.status = d.status THEN d.started_at END,
      CASE WHEN n.status = d.status THEN d.delivered_by END,
      CASE WHEN n.status = d.status THEN d.read_by END,
      CASE WHEN n.status = d.status THEN d.history ELSE delivery_history(d) || (
        SELECT coalesce(jsonb_agg(jsonb_build_object('status', r.status, 'at', ${now}, 'cause', 'receipt',
          'webhook_id', r.webhook_id, 'platform_at', r.platform_at) ORDER BY r.status), '[]')
        FROM ${changes("d.status", "n.status")} r) END
    FROM (SELECT ${next} AS status, ${newIds} AS ids OFFSET 0) n)
  FROM input i
  WHERE d.delivery_id = i.delivery_id AND d.channel_account_id = i.channel_account_id
    AND (d.part_count > 1 OR ${isKnown} AND ${next} <> d.status OR NOT ${isKnown} AND ${isLearned})
  RETURNING d.*, i.provider_message_id, i.place
), maybe_learned AS MATERIALIZED (
  -- While an attempt is under way, its response names the part.
  SELECT * FROM updated WHERE attempt_started_at IS NULL AND (status_before < 'sent' OR status_before = 'failed')
), named AS (
  INSERT INTO provider_messages (channel_account_id, provider_message_id, delivery_id, message_id)
  SELECT channel_account_id, provider_message_id, delivery_id, message_id FROM maybe_learned ON CONFLICT DO NOTHING
  RETURNING message_id
), unknown AS MATERIALIZED (
  SELECT * FROM updated
  WHERE part_count > 1 AND attempt_started_at IS NOT NULL AND provider_message_id <> ALL (coalesce(provider_message_ids, '{}'))
), published AS MATERIALIZED (
  ${publishStatuses({
    from: `updated d JOIN input i USING (delivery_id) CROSS JOIN LATERAL ${changes("d.status_before", "d.status")} r`,
    status: "r.status",
    platformAt: "(to_json(r.platform_at) #>> '{}')",
    after: ["named"],
  })}
)
SELECT r.* FROM published LEFT JOIN (
  SELECT delivery_id AS "deliveryId", lane_id AS "laneId", channel, channel_account_id AS "channelAccountId", ordinal,
    NULL::bigint AS place
  FROM maybe_learned
  UNION ALL
  SELECT NULL, NULL, NULL, NULL, NULL, place FROM unknown
) r ON true`;
