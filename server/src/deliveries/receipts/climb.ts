import { publishedColumns, publishStatuses } from "../../events/events.ts";
import { type Column, columnValues, rowsOf } from "../../lib/columns.ts";
import { queryEarly } from "../../lib/early-commit.ts";
import type { Pool } from "../../lib/postgres.ts";
import {
  found,
  highest,
  idColumns,
  type PartReceipts,
  partsAt,
  type StoredWith,
  timeColumns,
} from "./merge-receipts.ts";

/**
 * The ordinary receipts: `delivered` and `read` for a delivery in one part that was sent, and what repeats its status.
 * Returns the parts that need more (`mergeReceipts`). It is that statement without its cases: PostgreSQL prepares every
 * expression of a statement for each execution.
 */
export async function climb(db: Pool, parts: readonly PartReceipts[], stored?: StoredWith): Promise<PartReceipts[]> {
  const { rows } = await queryEarly<{ place: number | null }>(db, {
    name: stored === undefined ? "climb" : "climb_and_store",
    text: `WITH ${stored === undefined ? "" : `${stored.text(columns.length + 1)}, `}${statement}`,
    values: [...columnValues(columns, parts), ...(stored?.values ?? [])],
  });
  return partsAt(parts, rows);
}

const columns: readonly Column<PartReceipts>[] = [
  ...idColumns,
  ["reported", "delivery_status", (part) => (found(part, "failed") ? null : highest(part))],
  ...timeColumns("delivered", "read"),
];

const isSame = `d.delivery_id = i.delivery_id AND d.channel_account_id = i.channel_account_id
  AND d.part_count = 1 AND d.provider_message_ids[1] = i.provider_message_id`;

const statement = `
input AS MATERIALIZED (
  SELECT * FROM ${rowsOf(columns)}
), updated AS (
  UPDATE deliveries d SET
    status = i.reported,
    status_before = d.status,
    delivered_at = coalesce(d.delivered_at, greatest(coalesce(i.delivered_at, i.read_at), d.sent_at, d.retry_from)),
    delivered_by = CASE WHEN d.status = 'sent' THEN i.delivered_by ELSE d.delivered_by END,
    read_at = CASE WHEN i.reported = 'read' THEN greatest(i.read_at, d.delivered_at, i.delivered_at, d.sent_at, d.retry_from) END,
    read_by = CASE WHEN i.reported = 'read' THEN i.read_by END
  FROM input i
  WHERE ${isSame} AND d.status IN ('sent', 'delivered') AND i.reported > d.status
    AND coalesce(i.read_by, i.delivered_by) IS NOT NULL
  RETURNING ${publishedColumns}, i.place, i.delivered_at AS delivered_then, i.read_at AS read_then
), published AS MATERIALIZED (
  ${publishStatuses({
    from: `updated d CROSS JOIN LATERAL (
      VALUES ('delivered'::delivery_status, d.delivered_then), ('read', d.read_then)) AS r (status, platform_at)`,
    where: "r.platform_at IS NOT NULL AND r.status > d.status_before",
    status: "r.status",
    platformAt: "(to_json(r.platform_at) #>> '{}')",
    commitsEarly: true,
  })}
)
SELECT r.place FROM published LEFT JOIN (
  SELECT i.place FROM input i
  WHERE i.place NOT IN (SELECT place FROM updated) AND (
    SELECT d.status IN ('sent', 'delivered', 'read') AND i.reported <= d.status FROM deliveries d WHERE ${isSame}) IS NOT TRUE
) r ON true`;
