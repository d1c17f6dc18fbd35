import { publishStatuses } from "../../events/events.ts";
import { toStorable } from "../../lib/json.ts";
import { type Db, plainArray } from "../../lib/query.ts";
import type { LanePlace } from "../outgoing.ts";
import type { Receipt } from "./receipt.ts";

/** The receipts of one delivery. Deliveries are locked in the order of this list, to avoid deadlocks. */
export function groupByMessage(receipts: readonly Receipt[]): Receipt[][] {
  const groups = Map.groupBy(receipts, (receipt) => `${receipt.deliveryId} ${receipt.providerMessageId}`);
  return [...groups].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, group]) => group);
}

interface SpecialRow extends LanePlace {
  message_id: string;
  provider_message_id: string;
  /** Sent in parts, and unchanged; otherwise it waited for this receipt and needs no further attempt. */
  has_parts: boolean;
}

/**
 * One statement for all deliveries with one part. Returns those with more. Receipts of an earlier sending, before a
 * replay or a repeated attempt, have no effect.
 */
export async function mergeReceipts(db: Db, groups: readonly Receipt[][], now: Date): Promise<SpecialRow[]> {
  const of = (status: Receipt["status"]) => groups.map((group) => group.find((receipt) => receipt.status === status));
  const [sent, delivered, read, failed] = [of("sent"), of("delivered"), of("read"), of("failed")];
  const change = (receipt: Receipt | undefined) => receipt && JSON.stringify(toChange(receipt, now));
  const { rows } = await db.query<SpecialRow>({
    name: "merge_receipts",
    text: statement,
    values: [
      now,
      plainArray(groups.map((group) => group[0]!.deliveryId)),
      plainArray(groups.map((group) => group[0]!.channelAccountId)),
      groups.map((group) => group[0]!.providerMessageId),
      plainArray(groups.map((_, index) => (read[index] ?? delivered[index] ?? sent[index])?.status)),
      failed.map((receipt) => receipt && toStorable(JSON.stringify(receipt.error))),
      plainArray(
        groups.map((group) => group.reduce((first, { at }) => (at < first ? at : first), group[0]!.at).toISOString()),
      ),
      plainArray(delivered.map((receipt, index) => (receipt ?? read[index])?.at.toISOString())),
      plainArray(read.map((receipt) => receipt?.at.toISOString())),
      sent.map(change),
      delivered.map(change),
      read.map(change),
      failed.map(change),
    ],
  });
  return rows.filter(({ delivery_id }) => delivery_id !== null);
}

function toChange({ status, webhookId, at }: Receipt, now: Date) {
  return { status, at: now, cause: "receipt", webhook_id: webhookId, platform_at: at };
}

const next = "next_status(d.status, i.reported, i.failed IS NOT NULL)";
const isChange = (status: string) =>
  `i.${status} IS NOT NULL AND ${next} <> 'failed' AND (d.status < '${status}' OR d.status = 'failed' AND '${status}' >= 'delivered'::delivery_status)`;

// An unknown id is that of the attempt under way, or of one without a response. An id that is known to have no delivery
// is of a sending before the last replay.
const isOfThisSending = `CASE WHEN d.provider_message_ids <> '{}' THEN i.provider_message_id = ANY (d.provider_message_ids)
      ELSE NOT EXISTS (SELECT FROM provider_messages p WHERE p.channel_account_id = i.channel_account_id
        AND p.provider_message_id = i.provider_message_id AND p.delivery_id IS NULL) END`;

const statement = `
WITH input AS MATERIALIZED (
  SELECT * FROM unnest($2::uuid[], $3::uuid[], $4::text[], $5::delivery_status[], $6::jsonb[], $7::timestamptz[],
    $8::timestamptz[], $9::timestamptz[], $10::jsonb[], $11::jsonb[], $12::jsonb[], $13::jsonb[]) AS i (
    delivery_id, channel_account_id, provider_message_id, reported, error, reported_at, delivered_at, read_at, sent, delivered,
    read, failed)
), special AS MATERIALIZED (
  SELECT d.delivery_id, d.lane_id, d.channel, d.channel_account_id, d.ordinal, d.message_id, i.provider_message_id,
    d.part_count > 1 AS has_parts
  FROM input i JOIN deliveries d
    ON d.delivery_id = i.delivery_id AND d.channel_account_id = i.channel_account_id
  WHERE d.part_count > 1 OR d.is_pending AND d.attempt_started_at IS NULL AND ${isOfThisSending}
), updated AS (
  UPDATE deliveries d SET
    status = ${next},
    status_before = d.status,
    is_pending = d.is_pending AND d.attempt_started_at IS NOT NULL,
    next_attempt_at = NULL,
    provider_message_ids = CASE WHEN d.provider_message_ids <> '{}' THEN d.provider_message_ids
      ELSE ARRAY[i.provider_message_id] END,
    is_dead_letter = ${next} = 'failed' AND (d.is_dead_letter OR d.status <> 'failed'),
    error = CASE WHEN ${next} <> 'failed' THEN NULL WHEN d.status = 'failed' THEN d.error ELSE i.error END,
    sent_at = coalesce(d.sent_at, CASE WHEN ${next} <> 'failed' THEN greatest(i.reported_at, d.retry_from) END),
    delivered_at = coalesce(d.delivered_at,
      CASE WHEN i.delivered_at IS NOT NULL THEN greatest(i.delivered_at, d.sent_at, d.retry_from) END),
    read_at = coalesce(d.read_at,
      CASE WHEN i.read_at IS NOT NULL THEN greatest(i.read_at, d.delivered_at, d.sent_at, d.retry_from) END),
    failed_at = CASE WHEN ${next} = 'failed' THEN coalesce(d.failed_at, $1::timestamptz) END,
    history = d.history
      || CASE WHEN ${isChange("sent")} THEN i.sent ELSE '[]' END
      || CASE WHEN ${isChange("delivered")} THEN i.delivered ELSE '[]' END
      || CASE WHEN ${isChange("read")} THEN i.read ELSE '[]' END
      || CASE WHEN ${next} = 'failed' AND d.status <> 'failed' THEN i.failed ELSE '[]' END
  FROM input i
  WHERE d.delivery_id = i.delivery_id AND d.channel_account_id = i.channel_account_id AND d.part_count = 1
    AND ${isOfThisSending}
    AND (${next} <> d.status OR d.is_pending AND d.attempt_started_at IS NULL
      OR d.sent_at IS NULL AND i.sent IS NOT NULL OR d.delivered_at IS NULL AND i.delivered_at IS NOT NULL)
  RETURNING d.*
), published AS MATERIALIZED (
  ${publishStatuses({
    from: `updated d JOIN input i USING (delivery_id) CROSS JOIN LATERAL (VALUES
       ('sent'::delivery_status, i.sent), ('delivered', i.delivered), ('read', i.read), ('failed', i.failed)
     ) AS r (status, change)`,
    where: `r.change IS NOT NULL AND CASE
       WHEN r.status = 'failed' THEN d.status = 'failed' AND d.status_before <> 'failed'
       ELSE d.status <> 'failed'
         AND (d.status_before < r.status OR d.status_before = 'failed' AND r.status >= 'delivered') END`,
    status: "r.status",
    platformAt: "r.change ->> 'platform_at'",
    after: ["special"],
  })}
)
SELECT s.* FROM published LEFT JOIN special s ON true`;
