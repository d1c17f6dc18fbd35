import type { MessageStatus } from "../../../../contract/src/messages.ts";
import { type Db, plainArray, run } from "../../lib/query.ts";

export interface NewDelivery {
  deliveryId: string;
  workspaceId: string;
  messageId: string;
  conversationId: string;
  seq: number;
  recipientId: string;
  channel: string;
  identifier: string | null;
  channelAccountId: string | null;
  laneId: string | null;
  partition: number | null;
  topic: string;
  route: string;
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

/** What became of deliveries: the ids of those that started, and the channels that have something to send. */
export interface WrittenDeliveries {
  started: Set<string>;
  channels: string[];
}

export interface WrittenRow {
  started: string | null;
  channel: string | null;
}

export function toWritten(rows: readonly WrittenRow[]): WrittenDeliveries {
  return {
    started: new Set(rows.flatMap((row) => row.started ?? [])),
    channels: rows.flatMap((row) => (row.started === null && row.channel !== null ? [row.channel] : [])),
  };
}

/** The columns of the type `planned_delivery` in migration 0032, with their types. */
const columns = {
  delivery_id: "uuid",
  workspace_id: "uuid",
  message_id: "uuid",
  conversation_id: "uuid",
  seq: "bigint",
  recipient_id: "uuid",
  channel: "text",
  identifier: "text",
  channel_account_id: "uuid",
  lane_id: "uuid",
  partition: "integer",
  route: "text",
  status: "delivery_status",
  error: "text",
  cause: "text",
  topic: "text",
  fallback_after: "integer",
  part_count: "integer",
  starter: "uuid",
};

/** SQL: the rows of `plannedRows` as an array for `write_deliveries`. */
export function plannedArray(seq = "i.seq"): string {
  const values = Object.keys(columns).map((name) => (name === "seq" ? seq : `i.${name}`));
  return `array_agg(ROW(${values.join(", ")})::planned_delivery ORDER BY i.place)`;
}

/** SQL: planned deliveries as rows `i`; the parameters begin at `$first`. */
export function plannedRows(first: number): string {
  const arrays = Object.values(columns).map((type, index) => `$${first + index}::${type}[]`);
  return `unnest(${arrays.join(", ")}) WITH ORDINALITY AS i (${Object.keys(columns).join(", ")}, place)`;
}

export function plannedValues(deliveries: readonly NewDelivery[]): unknown[] {
  const column = <Key extends keyof NewDelivery>(key: Key) => deliveries.map((delivery) => delivery[key]);
  return [
    plainArray(column("deliveryId")),
    plainArray(column("workspaceId")),
    plainArray(column("messageId")),
    plainArray(column("conversationId")),
    plainArray(column("seq")),
    plainArray(column("recipientId")),
    plainArray(column("channel")),
    column("identifier"),
    plainArray(column("channelAccountId")),
    plainArray(column("laneId")),
    plainArray(column("partition")),
    column("route"),
    plainArray(column("status")),
    column("error"),
    column("cause"),
    plainArray(column("topic")),
    plainArray(column("fallbackAfterSeconds")),
    plainArray(column("partCount")),
    plainArray(column("starter")),
  ];
}

/** The last message of a conversation that is routed; it and all before it are. */
export interface RoutedSeq {
  conversationId: string;
  seq: number;
}

/** Writes the new deliveries and publishes what is to be sent: one round trip, one commit. */
export async function writeDeliveries(
  db: Db,
  deliveries: readonly NewDelivery[],
  routed: readonly RoutedSeq[],
  now: Date,
): Promise<WrittenDeliveries> {
  if (routed.length === 0) return { started: new Set(), channels: [] };
  // Locks conversations in the order of their ids, as accepting does.
  const sorted = routed.toSorted((a, b) => (a.conversationId < b.conversationId ? -1 : 1));
  const { rows } = await db.query<WrittenRow>({
    name: "write_deliveries",
    text: statement,
    values: [
      now,
      plainArray(sorted.map(({ conversationId }) => conversationId)),
      plainArray(sorted.map(({ seq }) => seq)),
      ...plannedValues(deliveries),
    ],
  });
  return toWritten(rows);
}

export async function setSuperseded(
  db: Db,
  messageId: string,
  { recipientId, channel }: { recipientId: string; channel: string },
  isSuperseded: boolean,
): Promise<void> {
  await run(
    db,
    `UPDATE deliveries SET is_superseded = $4
     WHERE message_id = $1 AND recipient_id = $2 AND channel = $3 AND is_superseded <> $4`,
    [messageId, recipientId, channel, isSuperseded],
  );
}

const statement = `
WITH routed AS (
  UPDATE conversations c SET routed_seq = i.seq
  FROM unnest($2::uuid[], $3::bigint[]) AS i (conversation_id, seq)
  WHERE c.conversation_id = i.conversation_id AND c.routed_seq < i.seq
  RETURNING c.conversation_id
), planned AS MATERIALIZED (
  SELECT ${plannedArray()} AS deliveries, (SELECT count(*) FROM routed) AS count
  FROM ${plannedRows(4)}
)
SELECT w.started, w.channel FROM planned p CROSS JOIN LATERAL write_deliveries($1, p.deliveries, 'deliver') w`;
