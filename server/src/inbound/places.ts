import type { InboundRoute } from "../../../contract/src/messages.ts";
import type { Bus } from "../bus/bus.ts";
import { continuationOf, takesUnquoted } from "../conversations/conversations.ts";
import { laneOf } from "../deliveries/deliveries.ts";
import type { Clock } from "../lib/clock.ts";
import type { ConversationId, MessageId } from "../lib/ids.ts";
import { allPrepared, type Db, run } from "../lib/query.ts";
import type { InboundMessage } from "./inbound-message.ts";

/** The conversation of an inbound message, as far as it is known. */
export interface InboundPlace {
  senderId: string | null;
  /**
   * The conversation of the quoted message, else the last one of that address and channel account. Null when there is
   * none that the sender is still in and that takes unquoted messages.
   */
  conversationId: ConversationId | null;
  route: InboundRoute;
  quoted: { messageId: MessageId; conversationId: ConversationId } | null;
  /** If the quoted id is unknown: the delivery that is being sent now, whose id follows with the platform's response. */
  sendingId: string | null;
  /** Whether all aliases of the sender are stored. */
  knowsAliases: boolean;
}

/** One statement; one place for each message, in order. All are on one channel account. */
export async function findPlaces(
  { db, bus }: { db: Db; bus: Bus },
  inbound: readonly InboundMessage[],
): Promise<InboundPlace[]> {
  const { workspaceId, channelAccountId, channel } = inbound[0]!.account;
  const lanes = inbound.map(({ event }) => laneOf(channelAccountId, event.identifier));
  const rows = await allPrepared<{
    sender_id: string | null;
    quoted_id: MessageId | null;
    quoted_conversation_id: ConversationId | null;
    sending_id: string | null;
    is_quoted_member: boolean;
    last_conversation_id: ConversationId | null;
    is_last_open: boolean;
    known_aliases: number;
  }>(
    db,
    "find_places",
    `SELECT a.participant_id AS sender_id, q.message_id AS quoted_id, q.conversation_id AS quoted_conversation_id,
       CASE WHEN i.quoted IS NOT NULL AND p.message_id IS NULL THEN (
         SELECT d.delivery_id FROM deliveries d WHERE d.channel = $3 AND d.partition = i.partition
           AND d.lane_id = i.lane_id AND d.is_pending AND d.attempt_started_at IS NOT NULL LIMIT 1) END AS sending_id,
       (SELECT true FROM members m WHERE m.conversation_id = q.conversation_id
         AND m.participant_id = a.participant_id) IS NOT NULL AS is_quoted_member,
       last.conversation_id AS last_conversation_id,
       (SELECT true FROM members m WHERE m.conversation_id = last.conversation_id
         AND m.participant_id = a.participant_id) IS NOT NULL AND ${takesUnquoted("last.conversation_id")} AS is_last_open,
       (SELECT count(*) FROM addresses o WHERE o.workspace_id = $1 AND o.channel = $3
         AND o.identifier IN (SELECT json_array_elements_text(i.aliases::json))
         AND o.participant_id = a.participant_id) AS known_aliases
     FROM unnest($4::text[], $5::uuid[], $6::int[], $7::text[], $8::text[])
       WITH ORDINALITY AS i (identifier, lane_id, partition, quoted, aliases, place)
     LEFT JOIN addresses a ON a.workspace_id = $1 AND a.channel = $3 AND a.identifier = i.identifier
     LEFT JOIN lanes l ON l.lane_id = i.lane_id
     CROSS JOIN LATERAL (SELECT ${continuationOf("l.last_conversation_id")} AS conversation_id) last
     LEFT JOIN provider_messages p ON p.channel_account_id = $2 AND p.provider_message_id = i.quoted
     LEFT JOIN messages q ON q.workspace_id = $1 AND q.message_id = p.message_id
     ORDER BY i.place`,
    [
      workspaceId,
      channelAccountId,
      channel,
      inbound.map(({ event }) => event.identifier),
      lanes,
      lanes.map((lane) => bus.partitionOf(lane)),
      inbound.map(({ event }) => event.quotedProviderMessageId),
      inbound.map(({ event }) => JSON.stringify(event.aliases)),
    ],
  );
  return rows.map((row, index) => ({
    knowsAliases: row.known_aliases === new Set(inbound[index]!.event.aliases).size,
    senderId: row.sender_id,
    ...(row.is_quoted_member
      ? { route: "quoted", conversationId: row.quoted_conversation_id }
      : row.is_last_open
        ? { route: "last_used", conversationId: row.last_conversation_id }
        : { route: "private", conversationId: null }),
    sendingId: row.sending_id,
    quoted: row.quoted_id === null ? null : { messageId: row.quoted_id, conversationId: row.quoted_conversation_id! },
  }));
}

/**
 * Stores for each address when it last sent and on which account, its conversation there, and the platform's id by
 * which others may quote the message. All are on one channel account. Safe to call twice.
 */
export async function noteReceived(
  { db, bus, clock }: { db: Db; bus: Bus; clock: Clock },
  received: readonly { one: InboundMessage; conversationId: string; messageId: string }[],
): Promise<void> {
  if (received.length === 0) return;
  const { workspaceId, channelAccountId, channel } = received[0]!.one.account;
  const lanes = received.map(({ one }) => laneOf(channelAccountId, one.event.identifier));
  await run(
    db,
    `WITH input AS MATERIALIZED (
       SELECT * FROM unnest($5::text[], $6::uuid[], $7::int[], $8::uuid[], $9::text[], $10::uuid[])
         WITH ORDINALITY AS i (identifier, lane_id, partition, conversation_id, provider_message_id, message_id, place)
     ), quotable AS (
       INSERT INTO provider_messages (channel_account_id, provider_message_id, delivery_id, message_id)
       SELECT $3::uuid, provider_message_id, NULL, message_id FROM input ORDER BY place
       ON CONFLICT DO NOTHING
     ), served AS (
       INSERT INTO lanes AS l (lane_id, workspace_id, channel_account_id, channel, identifier, partition, last_conversation_id)
       SELECT DISTINCT ON (lane_id) lane_id, $2::uuid, $3::uuid, $4::text, identifier, partition, conversation_id
       FROM input WHERE ${takesUnquoted("input.conversation_id")} ORDER BY lane_id, place DESC
       ON CONFLICT (lane_id) DO UPDATE SET last_conversation_id = excluded.last_conversation_id
       WHERE l.last_conversation_id IS DISTINCT FROM excluded.last_conversation_id
     )
     UPDATE addresses a SET last_heard_at = $1, last_channel_account_id = $3,
       last_provider_message_id = i.provider_message_id
     FROM (SELECT DISTINCT ON (identifier) * FROM input ORDER BY identifier, place DESC) i
     WHERE a.workspace_id = $2 AND a.channel = $4 AND a.identifier = i.identifier`,
    [
      new Date(clock.now()),
      workspaceId,
      channelAccountId,
      channel,
      received.map(({ one }) => one.event.identifier),
      lanes,
      lanes.map((lane) => bus.partitionOf(lane)),
      received.map(({ conversationId }) => conversationId),
      received.map(({ one }) => one.event.providerMessageId),
      received.map(({ messageId }) => messageId),
    ],
  );
}
