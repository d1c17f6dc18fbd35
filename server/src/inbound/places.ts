import type { InboundRoute } from "../../../contract/src/messages.ts";
import type { Bus } from "../bus/bus.ts";
import { continuationOf, takesUnquoted } from "../conversations/conversations.ts";
import { laneOf } from "../deliveries/deliveries.ts";
import type { Clock } from "../lib/clock.ts";
import { type Column, columnValues, rowsOf } from "../lib/columns.ts";
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
export function findPlaces(
  { db, bus }: { db: Db; bus: Bus },
  inbound: readonly InboundMessage[],
): Promise<InboundPlace[]> {
  const { workspaceId, channelAccountId, channel } = inbound[0]!.account;
  const columns: Column<InboundMessage>[] = [
    ...laneColumns(bus, inbound),
    ["quoted", "text", ({ event }) => event.quotedProviderMessageId],
    ["aliases", "text", ({ event }) => JSON.stringify(event.aliases)],
  ];
  return allPrepared(
    db,
    "find_places",
    `SELECT a.participant_id AS "senderId", r.route,
       CASE r.route WHEN 'quoted' THEN q.conversation_id WHEN 'last_used' THEN last.conversation_id END AS "conversationId",
       CASE WHEN q.message_id IS NOT NULL THEN
         json_build_object('messageId', q.message_id, 'conversationId', q.conversation_id) END AS quoted,
       CASE WHEN i.quoted IS NOT NULL AND p.message_id IS NULL THEN (
         SELECT d.delivery_id FROM deliveries d WHERE d.channel = $3 AND d.partition = i.partition
           AND d.lane_id = i.lane_id AND d.is_pending AND d.attempt_started_at IS NOT NULL LIMIT 1) END AS "sendingId",
       (SELECT count(*) FROM addresses o WHERE o.workspace_id = $1 AND o.channel = $3
         AND o.identifier IN (SELECT json_array_elements_text(i.aliases::json))
         AND o.participant_id = a.participant_id)
         = (SELECT count(DISTINCT alias) FROM json_array_elements_text(i.aliases::json) AS alias) AS "knowsAliases"
     FROM ${rowsOf(columns, 4)}
     LEFT JOIN addresses a ON a.workspace_id = $1 AND a.channel = $3 AND a.identifier = i.identifier
     LEFT JOIN lanes l ON l.lane_id = i.lane_id
     CROSS JOIN LATERAL (SELECT ${continuationOf("l.last_conversation_id")} AS conversation_id) last
     LEFT JOIN provider_messages p ON p.channel_account_id = $2 AND p.provider_message_id = i.quoted
     LEFT JOIN messages q ON q.workspace_id = $1 AND q.message_id = p.message_id
     CROSS JOIN LATERAL (SELECT CASE
       WHEN ${isMember("q.conversation_id")} THEN 'quoted'
       WHEN ${isMember("last.conversation_id")} AND ${takesUnquoted("last.conversation_id")} THEN 'last_used'
       ELSE 'private' END AS route OFFSET 0) r
     ORDER BY i.place`,
    [workspaceId, channelAccountId, channel, ...columnValues(columns, inbound)],
  );
}

const isMember = (conversationId: string) =>
  `(SELECT true FROM members m WHERE m.conversation_id = ${conversationId} AND m.participant_id = a.participant_id)`;

function laneColumns(bus: Bus, inbound: readonly InboundMessage[]): Column<InboundMessage>[] {
  const lanes = new Map(inbound.map((one) => [one, laneOf(one.account.channelAccountId, one.event.identifier)]));
  const lane = (one: InboundMessage) => lanes.get(one)!;
  return [
    ["identifier", "text", ({ event }) => event.identifier],
    ["lane_id", "uuid", lane],
    ["partition", "int", (one) => bus.partitionOf(lane(one))],
  ];
}

export interface ReceivedMessage extends InboundMessage {
  conversationId: string;
  messageId: string;
}

/**
 * Stores for each address when it last sent and on which account, its conversation there, and the platform's id by
 * which others may quote the message. All are on one channel account. Safe to call twice.
 */
export async function noteReceived(
  { db, bus, clock }: { db: Db; bus: Bus; clock: Clock },
  received: readonly ReceivedMessage[],
): Promise<void> {
  if (received.length === 0) return;
  const { workspaceId, channelAccountId, channel } = received[0]!.account;
  const columns: Column<ReceivedMessage>[] = [
    ...laneColumns(bus, received),
    ["conversation_id", "uuid", ({ conversationId }) => conversationId],
    ["provider_message_id", "text", ({ event }) => event.providerMessageId],
    ["message_id", "uuid", ({ messageId }) => messageId],
  ];
  await run(
    db,
    `WITH input AS MATERIALIZED (
       SELECT * FROM ${rowsOf(columns, 5)}
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
    [new Date(clock.now()), workspaceId, channelAccountId, channel, ...columnValues(columns, received)],
  );
}
