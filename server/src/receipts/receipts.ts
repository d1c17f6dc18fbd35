import type { Bus } from "../bus/bus.ts";
import type { Clock } from "../lib/clock.ts";
import { toStorable } from "../lib/json.ts";
import { all, type Db, run } from "../lib/query.ts";
import { topics } from "../topics.ts";
import { applyToParts } from "./part-receipts.ts";

/** The platform's word on a part of a delivery. */
export interface Receipt {
  channelAccountId: string;
  providerMessageId: string;
  /** Where the platform carries our own id back. */
  deliveryId: string | null;
  status: "sent" | "delivered" | "read" | "failed";
  error: { code: string; message: string } | null;
  /** By the platform's clock. */
  at: Date;
  webhookId: string | null;
}

export interface ReceiptDeps {
  db: Db;
  bus: Bus;
  clock: Clock;
}

/**
 * Merges receipts forward: they come in any order, late and twice. `failed` holds unless the platform also says
 * `delivered` or `read`. One that overtook the answer to our own request waits in `early_receipts`.
 */
export async function applyReceipts(deps: ReceiptDeps, receipts: readonly Receipt[]): Promise<void> {
  if (receipts.length === 0) return;
  const { db, bus, clock } = deps;
  const { rows } = await db.query<AppliedRow>({
    name: "apply_receipts",
    text: statement,
    values: [toStorable(JSON.stringify(receipts.map(toJson))), new Date(clock.now())],
  });
  for (const row of rows) {
    if (row.has_parts)
      await applyToParts(
        deps,
        row.delivery_id,
        receipts.filter((receipt) => matches(receipt, row)),
      );
  }
  await rouseLanes(
    bus,
    db,
    rows.filter((row) => row.is_settled),
  );
}

/** Applies what waited for these parts, now that it is known whose they are. */
export async function applyEarlyReceipts(
  deps: ReceiptDeps,
  parts: readonly { channelAccountId: string; providerMessageId: string }[],
): Promise<void> {
  const rows = await all<{ receipt: Omit<Receipt, "at"> & { at: string } }>(
    deps.db,
    `DELETE FROM early_receipts e USING unnest($1::uuid[], $2::text[]) AS p (channel_account_id, provider_message_id)
     WHERE e.channel_account_id = p.channel_account_id AND e.provider_message_id = p.provider_message_id
     RETURNING e.receipt`,
    [parts.map((part) => part.channelAccountId), parts.map((part) => part.providerMessageId)],
  );
  await applyReceipts(
    deps,
    rows.map(({ receipt }) => ({ ...receipt, at: new Date(receipt.at) })),
  );
}

/** Receipts whose delivery became known just as they arrived: both sides missed each other. Called now and then. */
export async function applyMissedReceipts(deps: ReceiptDeps): Promise<void> {
  const rows = await all<{ channel_account_id: string; provider_message_id: string }>(
    deps.db,
    "SELECT channel_account_id, provider_message_id FROM early_receipts JOIN provider_messages USING (channel_account_id, provider_message_id) LIMIT 500",
  );
  if (rows.length === 0) return;
  const parts = rows.map((row) => ({
    channelAccountId: row.channel_account_id,
    providerMessageId: row.provider_message_id,
  }));
  await applyEarlyReceipts(deps, parts);
}

/** How long a receipt waits for its delivery to become known, in hours. */
export const earlyReceiptHours = 24;

/** Receipts that nobody will ever claim: of messages that another program sent over the same account. */
export function deleteOldEarlyReceipts({ db, clock }: Pick<ReceiptDeps, "db" | "clock">): Promise<number> {
  const before = new Date(clock.now() - earlyReceiptHours * 3_600_000);
  return run(db, "DELETE FROM early_receipts WHERE received_at < $1", [before]);
}

/** A delivery that waited for this very word needs no further attempt: its lane may go on at once. */
export async function rouseLanes(bus: Bus, db: Db, lanes: readonly LanePlace[]): Promise<void> {
  for (const [channel, rows] of Map.groupBy(lanes, (row) => row.channel)) {
    const records = rows.map((row) => ({
      key: row.lane_id,
      value: { deliveryId: row.delivery_id, accountId: row.channel_account_id, ordinal: row.ordinal, isChanged: true },
    }));
    await bus.publish(db, topics.outgoing(channel), records);
    bus.wake(topics.outgoing(channel));
  }
}

export interface LanePlace {
  delivery_id: string;
  lane_id: string;
  channel: string;
  channel_account_id: string;
  ordinal: number;
}

interface AppliedRow extends LanePlace {
  has_parts: boolean;
  is_settled: boolean;
  provider_message_ids: string[] | null;
}

function matches(receipt: Receipt, row: AppliedRow): boolean {
  return (
    receipt.deliveryId === row.delivery_id || row.provider_message_ids?.includes(receipt.providerMessageId) === true
  );
}

function toJson(receipt: Receipt) {
  return {
    channel_account_id: receipt.channelAccountId,
    provider_message_id: receipt.providerMessageId,
    delivery_id: receipt.deliveryId,
    status: receipt.status,
    error: receipt.error,
    at: receipt.at,
    webhook_id: receipt.webhookId,
    receipt,
  };
}

// A platform's id that is known decides: one of an earlier sending, before a replay, belongs to no delivery any more.
const statement = `
WITH input AS MATERIALIZED (
  SELECT * FROM json_to_recordset($1::json) AS i (
    channel_account_id uuid, provider_message_id text, delivery_id uuid, status delivery_status, error jsonb,
    at timestamptz, webhook_id uuid, receipt jsonb
  )
), found AS MATERIALIZED (
  SELECT CASE WHEN p.message_id IS NULL THEN i.delivery_id ELSE p.delivery_id END AS delivery_id,
    p.message_id IS NOT NULL AS is_known, i.channel_account_id, i.provider_message_id, i.status, i.error, i.at,
    i.webhook_id, i.receipt
  FROM input i
  LEFT JOIN provider_messages p
    ON p.channel_account_id = i.channel_account_id AND p.provider_message_id = i.provider_message_id
), early AS (
  INSERT INTO early_receipts (channel_account_id, provider_message_id, status, receipt, received_at)
  SELECT DISTINCT ON (channel_account_id, provider_message_id, status)
    channel_account_id, provider_message_id, status, receipt, $2::timestamptz
  FROM found WHERE delivery_id IS NULL AND NOT is_known
  ON CONFLICT DO NOTHING
), merged AS MATERIALIZED (
  SELECT delivery_id, channel_account_id, min(provider_message_id) AS provider_message_id,
    max(status) FILTER (WHERE status <> 'failed') AS top,
    bool_or(status = 'failed') AS has_failed,
    (array_agg(error) FILTER (WHERE status = 'failed'))[1] AS error,
    min(at) FILTER (WHERE status = 'sent') AS sent_at,
    min(at) FILTER (WHERE status = 'delivered') AS delivered_at,
    min(at) FILTER (WHERE status = 'read') AS read_at
  FROM found WHERE delivery_id IS NOT NULL
  GROUP BY delivery_id, channel_account_id
), judged AS MATERIALIZED (
  SELECT d.delivery_id, m.channel_account_id, m.provider_message_id, m.error, m.sent_at, m.delivered_at, m.read_at,
    d.status AS old_status, d.is_pending AS was_pending, d.attempt_started_at,
    CASE
      WHEN m.top >= 'delivered' AND (d.status = 'failed' OR d.status < m.top) THEN m.top
      WHEN d.status = 'failed' THEN 'failed'
      WHEN m.has_failed AND d.status < 'delivered' THEN 'failed'
      ELSE greatest(d.status, m.top)
    END AS new_status
  FROM merged m
  JOIN deliveries d ON d.delivery_id = m.delivery_id AND d.channel_account_id = m.channel_account_id
  WHERE d.part_count = 1
  ORDER BY d.delivery_id FOR UPDATE OF d
), updated AS (
  UPDATE deliveries d SET
    status = j.new_status,
    is_pending = j.was_pending AND j.attempt_started_at IS NOT NULL,
    next_attempt_at = NULL,
    provider_message_ids = CASE WHEN d.provider_message_ids <> '{}' THEN d.provider_message_ids
      ELSE ARRAY[j.provider_message_id] END,
    is_dead_letter = j.new_status = 'failed' AND (d.is_dead_letter OR j.old_status <> 'failed'),
    error = CASE WHEN j.new_status <> 'failed' THEN NULL WHEN j.old_status = 'failed' THEN d.error ELSE j.error END,
    sent_at = coalesce(d.sent_at, CASE WHEN j.new_status <> 'failed'
      THEN greatest(coalesce(j.sent_at, j.delivered_at, j.read_at), d.retry_from) END),
    delivered_at = coalesce(d.delivered_at, greatest(coalesce(j.delivered_at, j.read_at), d.sent_at, d.retry_from)
      + CASE WHEN j.delivered_at IS NULL AND j.read_at IS NULL THEN NULL ELSE interval '0' END),
    read_at = coalesce(d.read_at, greatest(j.read_at, d.delivered_at, d.sent_at, d.retry_from)
      + CASE WHEN j.read_at IS NULL THEN NULL ELSE interval '0' END),
    failed_at = CASE WHEN j.new_status = 'failed' THEN coalesce(d.failed_at, $2::timestamptz) END,
    history = CASE WHEN j.new_status = j.old_status THEN d.history ELSE d.history || coalesce((
      SELECT jsonb_agg(jsonb_build_object('status', f.status, 'at', $2::timestamptz, 'cause', 'receipt', 'webhook_id', f.webhook_id,
        'platform_at', f.at) ORDER BY f.status)
      FROM (
        SELECT DISTINCT ON (f.status) f.status, f.webhook_id, f.at FROM found f
        WHERE f.delivery_id = d.delivery_id AND (f.status = 'failed') = (j.new_status = 'failed')
          AND (f.status > j.old_status OR j.old_status = 'failed') AND f.status <= j.new_status
        ORDER BY f.status, f.at
      ) f
    ), '[]') END
  FROM judged j
  WHERE d.delivery_id = j.delivery_id AND (j.new_status <> j.old_status OR j.was_pending AND j.attempt_started_at IS NULL
    OR d.sent_at IS NULL AND j.sent_at IS NOT NULL OR d.delivered_at IS NULL AND j.delivered_at IS NOT NULL)
  RETURNING d.delivery_id, d.lane_id, d.channel, d.channel_account_id, d.ordinal, j.provider_message_id, d.message_id,
    j.was_pending AND NOT d.is_pending AS is_settled
), named AS (
  INSERT INTO provider_messages (channel_account_id, provider_message_id, delivery_id, message_id)
  SELECT channel_account_id, provider_message_id, delivery_id, message_id FROM updated WHERE is_settled
  ON CONFLICT DO NOTHING
)
SELECT delivery_id, lane_id, channel, channel_account_id, ordinal, false AS has_parts, is_settled,
  NULL::text[] AS provider_message_ids
FROM updated WHERE is_settled
UNION ALL
SELECT d.delivery_id, d.lane_id, d.channel, d.channel_account_id, d.ordinal, true, false, d.provider_message_ids
FROM merged m JOIN deliveries d ON d.delivery_id = m.delivery_id AND d.channel_account_id = m.channel_account_id
WHERE d.part_count > 1`;
