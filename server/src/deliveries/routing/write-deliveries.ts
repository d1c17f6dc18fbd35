import type { MessageStatus } from "../../../../contract/src/messages.ts";
import { type Column, columnValues, rowsOf } from "../../lib/columns.ts";
import { commitsEarly, queryEarly } from "../../lib/early-commit.ts";
import type { Pool } from "../../lib/postgres.ts";
import { plainArray } from "../../lib/query.ts";
import type { RoutedRow } from "../../messages/messages.ts";
import type { MessageToRoute } from "./load-routing.ts";
import type { PlannedDelivery } from "./plan.ts";

export interface NewDelivery
  extends Pick<MessageToRoute, "workspaceId" | "messageId" | "conversationId" | "seq">,
    Pick<PlannedDelivery, "recipientId" | "channel" | "identifier" | "route"> {
  deliveryId: string;
  channelAccountId: string | null;
  laneId: string | null;
  partition: number | null;
  topic: string;
  /** Time until the recipient's next channel is tried; null without one. */
  fallbackAfterSeconds: number | null;
  status: MessageStatus;
  error: string | null;
  cause: string;
  /** More than 1 for a text that may be sent in several parts. */
  partCount: number;
  /** The consumer that starts its attempt with this commit; null to publish it. */
  starter: string | null;
}

/** The ids of deliveries that started, and the channels that have something to send. */
export function toWritten(rows: readonly RoutedRow[]) {
  const started = new Set(rows.flatMap((row) => row.started ?? []));
  const channels = rows.flatMap((row) => (row.started === null && row.channel !== null ? [row.channel] : []));
  return { started, channels };
}

/** Columns of the type `planned_delivery` in migration 0032, in its order. Texts of people and explanations need escapes. */
export const deliveryColumns: readonly Column<NewDelivery>[] = [
  ["delivery_id", "uuid", (delivery) => delivery.deliveryId],
  ["workspace_id", "uuid", (delivery) => delivery.workspaceId],
  ["message_id", "uuid", (delivery) => delivery.messageId],
  ["conversation_id", "uuid", (delivery) => delivery.conversationId],
  ["seq", "bigint", (delivery) => delivery.seq],
  ["recipient_id", "uuid", (delivery) => delivery.recipientId],
  ["channel", "text", (delivery) => delivery.channel],
  ["identifier", "text", (delivery) => delivery.identifier],
  ["channel_account_id", "uuid", (delivery) => delivery.channelAccountId],
  ["lane_id", "uuid", (delivery) => delivery.laneId],
  ["partition", "integer", (delivery) => delivery.partition],
  ["route", "text", (delivery) => delivery.route],
  ["status", "delivery_status", (delivery) => delivery.status],
  ["error", "text", (delivery) => delivery.error],
  ["cause", "text", (delivery) => delivery.cause],
  ["topic", "text", (delivery) => delivery.topic],
  ["fallback_after", "integer", (delivery) => delivery.fallbackAfterSeconds],
  ["part_count", "integer", (delivery) => delivery.partCount],
  ["starter", "uuid", (delivery) => delivery.starter],
];

/** SQL: the rows of `deliveryColumns` as an array for `write_deliveries`. */
export function plannedArray(seq = "i.seq"): string {
  const values = deliveryColumns.map(([name]) => (name === "seq" ? seq : `i.${name}`));
  return `array_agg(ROW(${values.join(", ")})::planned_delivery ORDER BY i.place)`;
}

/**
 * Writes the new deliveries and publishes what is to be sent: one round trip, one commit. `routed` has the last message of
 * each conversation that is routed: it and all before it are. Returns the channels that have something to send.
 */
export async function writeDeliveries(
  db: Pool,
  deliveries: readonly NewDelivery[],
  routed: ReadonlyMap<string, number>,
  now: Date,
): Promise<string[]> {
  if (routed.size === 0) return [];
  // Locks conversations in the order of their ids, as accepting does.
  const conversationIds = [...routed.keys()].sort();
  const { rows } = await queryEarly<RoutedRow>(db, {
    name: "write_deliveries",
    text: statement,
    values: [
      now,
      plainArray(conversationIds),
      plainArray(conversationIds.map((conversationId) => routed.get(conversationId))),
      ...columnValues(deliveryColumns, deliveries),
    ],
  });
  return toWritten(rows).channels;
}

// The planner expects one row of a LIMIT that it does not know, and so looks conversations up by id, in order.
const statement = `
WITH routed AS (
  UPDATE conversations c SET routed_seq = i.seq
  FROM (SELECT * FROM unnest($2::uuid[], $3::bigint[]) LIMIT cardinality($2::uuid[])) AS i (conversation_id, seq)
  WHERE c.conversation_id = i.conversation_id AND c.routed_seq < i.seq
  RETURNING c.conversation_id
), planned AS MATERIALIZED (
  SELECT ${plannedArray()} AS deliveries, (SELECT count(*) FROM routed) AS count, ${commitsEarly}
  FROM ${rowsOf(deliveryColumns, 4)}
)
SELECT w.started, w.channel FROM planned p CROSS JOIN LATERAL write_deliveries($1, p.deliveries, 'deliver') w`;
