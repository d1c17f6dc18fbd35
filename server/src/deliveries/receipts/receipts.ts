import { isRecordFault } from "../../lib/faults.ts";
import { toStorable } from "../../lib/json.ts";
import { all, type Db, run } from "../../lib/query.ts";
import { wakeLanes } from "../outgoing.ts";
import type { PipelineDeps } from "../pipeline-deps.ts";
import { climb } from "./climb.ts";
import { byPart, mergeReceipts, type Receipt, type StoredWith, sortOut } from "./merge-receipts.ts";

export type { Receipt, StoredWith };

type ReceiptDeps = Pick<PipelineDeps, "db" | "bus" | "clock">;

/**
 * Merges receipts forward, in any order, late and repeated. `failed` holds unless the platform also reports `delivered`
 * or `read`; a text in parts has the lowest status of its parts, and failed when one of them did. A receipt that arrives
 * before the response to our request waits in `early_receipts` unless it says which delivery it is for. With `stored`, the
 * first statement stores that too; after an error it may be stored, and the receipts must be applied again.
 */
export async function applyReceipts(
  deps: ReceiptDeps,
  receipts: readonly Receipt[],
  stored?: StoredWith,
): Promise<void> {
  const { db, bus, clock } = deps;
  const now = new Date(clock.now());
  const parts = byPart(await nameDeliveries(db, receipts, now));
  let left = parts.length === 0 && stored === undefined ? [] : await climb(db, parts, stored);
  while (left.length > 0) {
    // A statement updates a row once: one part of each delivery. The others follow.
    const groups = [...Map.groupBy(left, (part) => part[0]!.deliveryId).values()];
    const firsts = groups.map(([first]) => first!);
    const { released, unknown } = await mergeReceipts(db, firsts, now);
    const others = groups.flatMap(([, ...rest]) => rest);
    const sorted = await sortOut(db, others);
    if (unknown.length + sorted.unknown.length > 0)
      await keepUnknown(deps, [...unknown, ...sorted.unknown].flat(), now);
    await wakeLanes(bus, db, released);
    left = sorted.left;
  }
}

/** The response may have come meanwhile. */
async function keepUnknown(deps: ReceiptDeps, receipts: readonly Receipt[], now: Date): Promise<void> {
  await keepEarly(deps.db, receipts, now);
  await applyEarlyReceipts(deps, receipts);
}

const ids = "(channel_account_id, provider_message_id)";

/** Of these parts, as far as they are known now. */
export function applyEarlyReceipts(deps: ReceiptDeps, parts: readonly Part[]): Promise<void> {
  return applyEarly(deps, `JOIN unnest($1::uuid[], $2::text[]) AS i ${ids} USING ${ids}`, idsOf(parts));
}

/**
 * Receipts that arrived just when their delivery became known, so that both sides missed each other. A maintenance job.
 */
export function applyMissedReceipts(deps: ReceiptDeps): Promise<void> {
  return applyEarly(deps, "LIMIT 500", []);
}

/** They are deleted after they were applied, so that an error of the database or the end of the process loses none. */
async function applyEarly(deps: ReceiptDeps, which: string, values: readonly unknown[]): Promise<void> {
  const rows = await all<{ receipt: Omit<Receipt, "at"> & { at: string } }>(
    deps.db,
    `SELECT receipt FROM early_receipts JOIN provider_messages USING ${ids} ${which}`,
    values,
  );
  if (rows.length === 0) return;
  // By the platform's id alone: a receipt may name another delivery.
  const receipts = rows.map(({ receipt }) => ({ ...receipt, deliveryId: null, at: new Date(receipt.at) }));
  try {
    await applyReceipts(deps, receipts);
  } catch (error) {
    // Those that can never be applied would fail again with each try, and hold up the others.
    if (isRecordFault(error)) await deleteEarly(deps.db, receipts);
    throw error;
  }
  await deleteEarly(deps.db, receipts);
}

async function deleteEarly(db: Db, receipts: readonly Receipt[]): Promise<void> {
  await run(
    db,
    `DELETE FROM early_receipts e USING unnest($1::uuid[], $2::text[], $3::delivery_status[]) AS i (account_id, id, status)
     WHERE e.channel_account_id = i.account_id AND e.provider_message_id = i.id AND e.status = i.status`,
    [...idsOf(receipts), receipts.map((receipt) => receipt.status)],
  );
}

type Part = Pick<Receipt, "channelAccountId" | "providerMessageId">;

const idsOf = (parts: readonly Part[]) => [
  parts.map((part) => part.channelAccountId),
  parts.map((part) => part.providerMessageId),
];

const earlyReceiptHours = 24;

/** Receipts without a delivery: of messages that another program sent over the same account. */
export function deleteOldEarlyReceipts({ db, clock }: Pick<ReceiptDeps, "db" | "clock">): Promise<number> {
  const before = new Date(clock.now() - earlyReceiptHours * 3_600_000);
  return run(db, "DELETE FROM early_receipts WHERE received_at < $1", [before]);
}

/** Receipts without a delivery id get the delivery of their platform id; the others wait. */
async function nameDeliveries(db: Db, receipts: readonly Receipt[], now: Date): Promise<readonly Receipt[]> {
  const nameless = receipts.filter((receipt) => receipt.deliveryId === null);
  if (nameless.length === 0) return receipts;
  const rows = await all<{ place: number; delivery_id: string | null }>(
    db,
    `SELECT i.place, p.delivery_id
     FROM unnest($1::uuid[], $2::text[]) WITH ORDINALITY AS i (channel_account_id, provider_message_id, place)
     JOIN provider_messages p USING (channel_account_id, provider_message_id)`,
    idsOf(nameless),
  );
  const names = new Map(rows.map((row) => [nameless[row.place - 1]!, row]));
  await keepEarly(
    db,
    nameless.filter((receipt) => !names.has(receipt)),
    now,
  );
  return receipts.flatMap((receipt) => {
    const deliveryId = receipt.deliveryId ?? names.get(receipt)?.delivery_id;
    return deliveryId ? [{ ...receipt, deliveryId }] : [];
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
      ...idsOf(receipts),
      receipts.map((receipt) => receipt.status),
      receipts.map((receipt) => toStorable(JSON.stringify(receipt))),
      now,
    ],
  );
}
