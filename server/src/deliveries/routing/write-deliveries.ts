import type { MessageStatus } from "../../../../contract/src/messages.ts";
import { takesUnquoted } from "../../conversations/conversations.ts";
import { publishStatuses } from "../../events/events.ts";
import { type Db, plainArray, run } from "../../lib/query.ts";
import { topics } from "../../topics.ts";

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
  route: string;
  /** Time until the recipient's next channel is tried; null without one. */
  fallbackAfterSeconds: number | null;
  status: MessageStatus;
  error: string | null;
  cause: string;
}

/**
 * Writes the new deliveries, stores in each lane the conversation of a reply, and publishes what is to be sent: one
 * round trip, one commit. Returns the channels that have something to send.
 */
export async function writeDeliveries(db: Db, deliveries: readonly NewDelivery[], now: Date): Promise<string[]> {
  if (deliveries.length === 0) return [];
  const column = <Key extends keyof NewDelivery>(key: Key) => deliveries.map((delivery) => delivery[key]);
  const { rows } = await db.query<{ channel: string | null }>({
    name: "write_deliveries",
    text: statement,
    values: [
      now,
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
      deliveries.map((delivery) => topics.outgoing(delivery.channel)),
      plainArray(column("fallbackAfterSeconds")),
    ],
  });
  return rows.flatMap((row) => row.channel ?? []);
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
WITH given AS MATERIALIZED (
  SELECT * FROM unnest(
    $2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[], $6::bigint[], $7::uuid[], $8::text[], $9::text[], $10::uuid[],
    $11::uuid[], $12::int[], $13::text[], $14::delivery_status[], $15::text[], $16::text[], $17::text[], $18::int[]
  ) WITH ORDINALITY AS i (
    delivery_id, workspace_id, message_id, conversation_id, seq, recipient_id, channel, identifier, channel_account_id,
    lane_id, partition, route, status, error, cause, topic, fallback_after, place
  )
), input AS MATERIALIZED (
  -- A recipient who read up to here in the app before the message was routed has read this one too.
  SELECT g.*, CASE WHEN r.is_read THEN 'read' ELSE g.status END AS first_status,
    CASE WHEN r.is_read THEN $1::timestamptz END AS read_at
  FROM given g CROSS JOIN LATERAL (
    SELECT g.channel = 'app' AND coalesce((
      SELECT m.read_seq >= g.seq FROM members m
      WHERE m.conversation_id = g.conversation_id AND m.participant_id = g.recipient_id), false) AS is_read
  ) r
), served AS (
  INSERT INTO lanes AS l (lane_id, workspace_id, channel_account_id, channel, identifier, partition, last_conversation_id)
  SELECT DISTINCT ON (lane_id) lane_id, workspace_id, channel_account_id, channel, identifier, partition,
    CASE WHEN is_answered_here THEN conversation_id END
  FROM (SELECT i.*, ${takesUnquoted("i.conversation_id")} AS is_answered_here FROM input i WHERE lane_id IS NOT NULL) i
  ORDER BY lane_id, is_answered_here DESC, place DESC
  ON CONFLICT (lane_id) DO UPDATE SET last_conversation_id = excluded.last_conversation_id
  WHERE excluded.last_conversation_id IS NOT NULL
    AND l.last_conversation_id IS DISTINCT FROM excluded.last_conversation_id
  RETURNING lane_id
), written AS (
  INSERT INTO deliveries (delivery_id, workspace_id, message_id, conversation_id, seq, recipient_id, channel, identifier,
    channel_account_id, lane_id, partition, route, status, is_pending, error, is_dead_letter, failed_at,
    sent_at, delivered_at, read_at, fallback_at, history, created_at)
  SELECT delivery_id, workspace_id, message_id, conversation_id, seq, recipient_id, channel, identifier,
    channel_account_id, lane_id, partition, route, first_status, status = 'accepted', error::jsonb, status = 'failed',
    CASE WHEN status = 'failed' THEN $1::timestamptz END, read_at, read_at, read_at,
    now() + make_interval(secs => fallback_after),
    CASE WHEN first_status NOT IN ('accepted', 'in_transit')
      THEN jsonb_build_array(jsonb_build_object('status', first_status, 'at', $1::timestamptz, 'cause', cause)) END,
    $1::timestamptz
  FROM input ORDER BY place
  ON CONFLICT (delivery_id) DO NOTHING
  RETURNING *
), queued AS MATERIALIZED (
  SELECT w.channel, bus_publish(t.topic, array_agg(w.partition ORDER BY w.ordinal), array_agg(json_build_array(
      w.lane_id, json_build_object('deliveryId', w.delivery_id, 'accountId', w.channel_account_id, 'ordinal', w.ordinal)
    )::text ORDER BY w.ordinal))
  FROM written w JOIN (SELECT DISTINCT channel, topic FROM input) t USING (channel)
  WHERE w.is_pending GROUP BY w.channel, t.topic
), published AS MATERIALIZED (
  ${publishStatuses({ from: "written d", where: "d.status <> 'accepted'", after: ["queued", "served"] })}
)
SELECT q.channel FROM published LEFT JOIN queued q ON true`;
