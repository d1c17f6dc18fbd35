import { publishStatuses } from "../../events/events.ts";
import type { ChannelAccountId } from "../../lib/ids.ts";
import { all, type Db, maybe, one } from "../../lib/query.ts";
import { wakeLanes } from "../outgoing.ts";
import type { Receipt, ReceiptDeps } from "./receipt.ts";
import { nameParts } from "./settled.ts";

type Rung = "sent" | "delivered" | "read" | "failed";
const rungs: readonly Rung[] = ["sent", "delivered", "read"];

interface PartsRow {
  status: "accepted" | "in_transit" | Rung;
  is_pending: boolean;
  attempt_started_at: Date | null;
  part_count: number;
  provider_message_ids: string[] | null;
  part_receipts: Record<string, Rung> | null;
  lane_id: string;
  channel: string;
  channel_account_id: ChannelAccountId;
  message_id: string;
  ordinal: number;
}

/**
 * Receipts for a text in parts: the delivery has the status of its last part, and failed when one of them did. Without
 * receipts it applies those that arrived while the parts were sent. Rare, so one delivery at a time; a concurrent
 * change repeats it.
 */
export async function applyToParts(deps: ReceiptDeps, deliveryId: string, fresh: readonly Receipt[]): Promise<void> {
  const { db, bus, clock } = deps;
  const receipts = fresh.length === 0 ? [] : await withoutEarlierSendings(db, fresh);
  if (receipts.length === 0 && fresh.length > 0) return;
  for (;;) {
    const row = await maybe<PartsRow>(
      db,
      `SELECT status, is_pending, attempt_started_at, part_count, provider_message_ids, part_receipts, lane_id, channel,
         channel_account_id, message_id, ordinal
       FROM deliveries WHERE delivery_id = $1`,
      [deliveryId],
    );
    if (row === null || (fresh.length === 0 && row.part_receipts === null)) return;
    const next = mergeParts(row, receipts);
    const now = new Date(clock.now());
    const change = { status: next.status, at: now, cause: "receipt", webhook_id: receipts.at(-1)?.webhookId ?? null };
    const updated = await one<{ delivery_id: string | null }>(
      db,
      `WITH changed AS (UPDATE deliveries SET status = $2::delivery_status, status_before = status, is_pending = $3::boolean, provider_message_ids = $4::text[], part_receipts = $5::jsonb,
         next_attempt_at = CASE WHEN $3::boolean THEN $6::timestamptz ELSE NULL END,
         error = CASE WHEN $2::delivery_status = 'failed' THEN coalesce($7::jsonb, error) WHEN status = 'failed' THEN NULL ELSE error END,
         is_dead_letter = $2::delivery_status = 'failed' AND (is_dead_letter OR status <> 'failed'),
         sent_at = coalesce(sent_at, CASE WHEN $2::delivery_status IN ('sent', 'delivered', 'read') THEN $6::timestamptz END),
         delivered_at = coalesce(delivered_at, CASE WHEN $2::delivery_status IN ('delivered', 'read') THEN $6::timestamptz END),
         read_at = coalesce(read_at, CASE WHEN $2::delivery_status = 'read' THEN $6::timestamptz END),
         failed_at = CASE WHEN $2::delivery_status = 'failed' THEN coalesce(failed_at, $6::timestamptz) END,
         history = CASE WHEN status = $2::delivery_status THEN history ELSE history || $8::jsonb END
       WHERE delivery_id = $1 AND part_receipts IS NOT DISTINCT FROM $9::jsonb AND status = $10::delivery_status
         AND coalesce(cardinality(provider_message_ids), 0) = $11::int
       RETURNING *), published AS MATERIALIZED (
         ${publishStatuses({ from: "changed d", where: "d.status <> d.status_before" })}
       ) SELECT c.delivery_id FROM published LEFT JOIN changed c ON true`,
      [
        deliveryId,
        next.status,
        next.isPending,
        next.ids,
        JSON.stringify(next.parts),
        now,
        next.error === null ? null : JSON.stringify(next.error),
        JSON.stringify(change),
        row.part_receipts === null ? null : JSON.stringify(row.part_receipts),
        row.status,
        row.provider_message_ids?.length ?? 0,
      ],
    );
    if (updated.delivery_id === null) continue;
    if (next.ids.length > (row.provider_message_ids?.length ?? 0)) {
      await nameParts(db, [{ ...row, delivery_id: deliveryId, ids: next.ids }]);
      await wakeLanes(bus, db, [{ ...row, delivery_id: deliveryId }]);
    }
    return;
  }
}

/** Receipts from before a replay have no effect. */
async function withoutEarlierSendings(db: Db, receipts: readonly Receipt[]): Promise<Receipt[]> {
  const rows = await all<{ id: string }>(
    db,
    `SELECT p.provider_message_id AS id FROM unnest($1::uuid[], $2::text[]) AS i (channel_account_id, provider_message_id)
     JOIN provider_messages p USING (channel_account_id, provider_message_id) WHERE p.delivery_id IS NULL`,
    [receipts.map((receipt) => receipt.channelAccountId), receipts.map((receipt) => receipt.providerMessageId)],
  );
  const stale = new Set(rows.map((row) => row.id));
  return receipts.filter((receipt) => !stale.has(receipt.providerMessageId));
}

/** Pure. A receipt that names a part whose attempt got no response also gives its id. */
function mergeParts(row: PartsRow, receipts: readonly Receipt[]) {
  const ids = [...(row.provider_message_ids ?? [])];
  const parts: Record<string, Rung> = { ...row.part_receipts };
  const waitsForId = row.is_pending && row.attempt_started_at === null;
  for (const { providerMessageId, status } of receipts) {
    const known = parts[providerMessageId];
    if (!ids.includes(providerMessageId) && waitsForId && ids.length < row.part_count) ids.push(providerMessageId);
    if (known === undefined || rankOf(status) > rankOf(known)) parts[providerMessageId] = status;
  }
  const isComplete = ids.length >= row.part_count;
  const statuses = ids.map((id) => parts[id]);
  const failure = receipts.find((receipt) => receipt.status === "failed");
  const least = statuses.includes("failed") ? "failed" : leastOf(statuses);
  const climbs =
    least !== null && isComplete && (row.status === "failed" ? rankOf(least) >= 1 : isHigher(least, row.status));
  const fails = least === "failed" && row.status !== "delivered" && row.status !== "read";
  const status = fails ? "failed" : climbs ? least : row.status;
  const isPending = row.is_pending && status !== "failed" && !(isComplete && row.attempt_started_at === null);
  return { ids, parts, status, isPending, error: fails ? (failure?.error ?? null) : null };
}

/** Delivered and read take precedence over failed, and failed over sent. */
function rankOf(status: Rung): number {
  return status === "failed" ? 0.5 : rungs.indexOf(status);
}

function leastOf(statuses: readonly (Rung | undefined)[]): Rung | null {
  if (statuses.length === 0 || statuses.some((status) => status === undefined)) return null;
  return rungs[Math.min(...statuses.map((status) => rungs.indexOf(status!)))] ?? null;
}

function isHigher(status: Rung, than: PartsRow["status"]): boolean {
  const order = ["accepted", "in_transit", "sent", "delivered", "read"];
  return order.indexOf(status) > order.indexOf(than);
}
