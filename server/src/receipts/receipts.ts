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
  const now = new Date(clock.now());
  const byDelivery = groupByDelivery(await nameDeliveries(db, receipts, now));
  if (byDelivery.size === 0) return;
  const special = await mergeReceipts(db, byDelivery, now);
  for (const row of special) {
    if (row.has_parts) await applyToParts(deps, row.delivery_id, byDelivery.get(row.delivery_id)!);
  }
  const settled = special.filter((row) => !row.has_parts);
  if (settled.length === 0) return;
  const parts = settled.map((row) => ({ ...row, ids: [byDelivery.get(row.delivery_id)![0]!.providerMessageId] }));
  await nameParts(db, parts);
  await rouseLanes(bus, db, settled);
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

/** Receipts that name no delivery get the one that their platform id is known for; the others wait. */
async function nameDeliveries(db: Db, receipts: readonly Receipt[], now: Date): Promise<readonly Receipt[]> {
  const nameless = receipts.filter((receipt) => receipt.deliveryId === null);
  if (nameless.length === 0) return receipts;
  const rows = await all<{ place: number; delivery_id: string }>(
    db,
    `SELECT i.place, p.delivery_id
     FROM unnest($1::uuid[], $2::text[]) WITH ORDINALITY AS i (channel_account_id, provider_message_id, place)
     JOIN provider_messages p USING (channel_account_id, provider_message_id) WHERE p.delivery_id IS NOT NULL`,
    [nameless.map((receipt) => receipt.channelAccountId), nameless.map((receipt) => receipt.providerMessageId)],
  );
  const names = new Map(rows.map((row) => [nameless[row.place - 1]!, row.delivery_id]));
  await keepEarly(
    db,
    nameless.filter((receipt) => !names.has(receipt)),
    now,
  );
  return receipts.flatMap((receipt) => {
    const deliveryId = receipt.deliveryId ?? names.get(receipt);
    return deliveryId === undefined ? [] : [{ ...receipt, deliveryId }];
  });
}

async function keepEarly(db: Db, receipts: readonly Receipt[], now: Date): Promise<void> {
  if (receipts.length === 0) return;
  await run(
    db,
    `INSERT INTO early_receipts (channel_account_id, provider_message_id, status, receipt, received_at)
     SELECT *, $5 FROM unnest($1::uuid[], $2::text[], $3::delivery_status[], $4::jsonb[])
     ON CONFLICT DO NOTHING`,
    [
      receipts.map((receipt) => receipt.channelAccountId),
      receipts.map((receipt) => receipt.providerMessageId),
      receipts.map((receipt) => receipt.status),
      receipts.map((receipt) => toStorable(JSON.stringify(receipt))),
      now,
    ],
  );
}

/** In the order of the ids, in which they are locked: two processes never wait for each other. */
function groupByDelivery(receipts: readonly Receipt[]): Map<string, Receipt[]> {
  const groups = Map.groupBy(receipts, (receipt) => receipt.deliveryId!);
  return new Map([...groups].sort(([a], [b]) => (a < b ? -1 : 1)));
}

interface SpecialRow extends LanePlace {
  message_id: string;
  /** Sent in parts, and left as it is; otherwise it waited for this very word and needs no further attempt. */
  has_parts: boolean;
}

/** One statement for all deliveries that went out in one part. Returns those that need more than that. */
async function mergeReceipts(db: Db, byDelivery: Map<string, Receipt[]>, now: Date): Promise<SpecialRow[]> {
  const groups = [...byDelivery.values()];
  const told = (status: Receipt["status"]) => groups.map((group) => group.find((receipt) => receipt.status === status));
  const [sent, delivered, read, failed] = [told("sent"), told("delivered"), told("read"), told("failed")];
  const change = (receipt: Receipt | undefined) => receipt && JSON.stringify(toChange(receipt, now));
  const { rows } = await db.query<SpecialRow>({
    name: "merge_receipts",
    text: statement,
    values: [
      now,
      [...byDelivery.keys()],
      groups.map((group) => group[0]!.channelAccountId),
      groups.map((group) => group[0]!.providerMessageId),
      groups.map((_, index) => (read[index] ?? delivered[index] ?? sent[index])?.status),
      failed.map((receipt) => receipt && toStorable(JSON.stringify(receipt.error))),
      groups.map((group) => group.reduce((first, { at }) => (at < first ? at : first), group[0]!.at).toISOString()),
      delivered.map((receipt, index) => (receipt ?? read[index])?.at.toISOString()),
      read.map((receipt) => receipt?.at.toISOString()),
      sent.map(change),
      delivered.map(change),
      read.map(change),
      failed.map(change),
    ],
  });
  return rows;
}

/** An entry of a delivery's `history`. */
function toChange({ status, webhookId, at }: Receipt, now: Date) {
  return { status, at: now, cause: "receipt", webhook_id: webhookId, platform_at: at };
}

/** Lets later receipts and quotes find the delivery by the platform's ids of its parts. */
export async function nameParts(
  db: Db,
  deliveries: readonly {
    channel_account_id: string;
    delivery_id: string;
    message_id: string;
    ids: readonly string[];
  }[],
): Promise<void> {
  const parts = deliveries.flatMap((delivery) => delivery.ids.map((id) => ({ ...delivery, id })));
  await run(
    db,
    `INSERT INTO provider_messages (channel_account_id, provider_message_id, delivery_id, message_id)
     SELECT * FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::uuid[]) ON CONFLICT DO NOTHING`,
    [
      parts.map((part) => part.channel_account_id),
      parts.map((part) => part.id),
      parts.map((part) => part.delivery_id),
      parts.map((part) => part.message_id),
    ],
  );
}

const next = "next_status(d.status, i.told, i.failed IS NOT NULL)";
/** Whether a change to this status is one, and not something that was known or is overruled. */
const isNews = (status: string) =>
  `i.${status} IS NOT NULL AND ${next} <> 'failed' AND (d.status < '${status}' OR d.status = 'failed' AND '${status}' >= 'delivered'::delivery_status)`;

const statement = `
WITH input AS MATERIALIZED (
  SELECT * FROM unnest($2::uuid[], $3::uuid[], $4::text[], $5::delivery_status[], $6::jsonb[], $7::timestamptz[],
    $8::timestamptz[], $9::timestamptz[], $10::jsonb[], $11::jsonb[], $12::jsonb[], $13::jsonb[]) AS i (
    delivery_id, channel_account_id, provider_message_id, told, error, told_at, delivered_at, read_at, sent, delivered,
    read, failed)
), special AS MATERIALIZED (
  SELECT d.delivery_id, d.lane_id, d.channel, d.channel_account_id, d.ordinal, d.message_id,
    d.part_count > 1 AS has_parts
  FROM input i JOIN deliveries d
    ON d.delivery_id = i.delivery_id AND d.channel_account_id = i.channel_account_id
  WHERE d.part_count > 1 OR d.is_pending AND d.attempt_started_at IS NULL
), updated AS (
  UPDATE deliveries d SET
    status = ${next},
    is_pending = d.is_pending AND d.attempt_started_at IS NOT NULL,
    next_attempt_at = NULL,
    provider_message_ids = CASE WHEN d.provider_message_ids <> '{}' THEN d.provider_message_ids
      ELSE ARRAY[i.provider_message_id] END,
    is_dead_letter = ${next} = 'failed' AND (d.is_dead_letter OR d.status <> 'failed'),
    error = CASE WHEN ${next} <> 'failed' THEN NULL WHEN d.status = 'failed' THEN d.error ELSE i.error END,
    sent_at = coalesce(d.sent_at, CASE WHEN ${next} <> 'failed' THEN greatest(i.told_at, d.retry_from) END),
    delivered_at = coalesce(d.delivered_at,
      CASE WHEN i.delivered_at IS NOT NULL THEN greatest(i.delivered_at, d.sent_at, d.retry_from) END),
    read_at = coalesce(d.read_at,
      CASE WHEN i.read_at IS NOT NULL THEN greatest(i.read_at, d.delivered_at, d.sent_at, d.retry_from) END),
    failed_at = CASE WHEN ${next} = 'failed' THEN coalesce(d.failed_at, $1::timestamptz) END,
    history = d.history
      || CASE WHEN ${isNews("sent")} THEN i.sent ELSE '[]' END
      || CASE WHEN ${isNews("delivered")} THEN i.delivered ELSE '[]' END
      || CASE WHEN ${isNews("read")} THEN i.read ELSE '[]' END
      || CASE WHEN ${next} = 'failed' AND d.status <> 'failed' THEN i.failed ELSE '[]' END
  FROM input i
  WHERE d.delivery_id = i.delivery_id AND d.channel_account_id = i.channel_account_id AND d.part_count = 1
    AND (${next} <> d.status OR d.is_pending AND d.attempt_started_at IS NULL
      OR d.sent_at IS NULL AND i.sent IS NOT NULL OR d.delivered_at IS NULL AND i.delivered_at IS NOT NULL)
)
SELECT * FROM special`;
