import type { InboundRoute, MessageStatus } from "../../../contract/src/messages.ts";
import { formatAddress } from "../contacts/contacts.ts";
import { anyAgent, anyMember, seesAddressesOf, type Viewer } from "../credentials/credentials.ts";
import type { ChannelAccountId } from "../lib/ids.ts";
import { maxPageBytes } from "../lib/page-bytes.ts";
import { all, type Db } from "../lib/query.ts";
import type { EventContent, EventFrame } from "./feed-event.ts";

/** A status as migration 0021 stores it; older events end with the error. */
export type StoredStatus = [
  kind: "s",
  conversationId: string,
  messageId: string,
  deliveryId: string,
  recipientId: string,
  channel: string,
  status: Exclude<MessageStatus, "accepted">,
  error: { code: string; message: string } | null,
  sentAt?: string | null,
  platformAt?: string | null,
  providerMessageId?: string | null,
];

interface MessageRow {
  message_id: string;
  conversation_id: string;
  conversation_type: "private" | "group" | null;
  seq: number;
  sender_id: string;
  sender_name: string | null;
  /** The other participant of a private conversation; null in a group. */
  recipient_id: string | null;
  direction: "inbound" | "outbound";
  /** Null for an event of a status, and for a message beyond the page. */
  payload: { type: string; text?: string; caption?: string; file_id?: string } | null;
  reply_to: string | null;
  /** Where an inbound message came from; null for others. */
  origin: {
    channel: string;
    channel_account_id: ChannelAccountId;
    identifier: string;
    provider_message_id: string;
    route?: InboundRoute;
    sent_at?: string | null;
  } | null;
  created_at: Date;
}

interface DeliveryRow {
  delivery_id: string;
  identifier: string | null;
  channel_account_id: ChannelAccountId | null;
}

export interface MessageFacts {
  messages: ReadonlyMap<string, MessageRow>;
  deliveries: ReadonlyMap<string, DeliveryRow>;
}

export async function loadMessageFacts(
  db: Db,
  workspaceId: string,
  messageIds: readonly string[],
  statuses: readonly StoredStatus[],
): Promise<MessageFacts> {
  const [messages, deliveries] = await Promise.all([
    loadMessages(
      db,
      workspaceId,
      messageIds,
      statuses.map(([, , messageId]) => messageId),
    ),
    loadDeliveries(
      db,
      workspaceId,
      statuses.map(([, , , deliveryId]) => deliveryId),
    ),
  ]);
  return { messages, deliveries };
}

/**
 * `newIds` get their payloads, the first ones up to the size of a page; `statusIds` only the fields that an event of a
 * status needs. Computing the size of a long payload takes as long as reading it, so no further ones are read.
 */
async function loadMessages(
  db: Db,
  workspaceId: string,
  newIds: readonly string[],
  statusIds: readonly string[],
): Promise<Map<string, MessageRow>> {
  const ids = [...new Set([...newIds, ...statusIds])];
  if (ids.length === 0) return new Map();
  const rows = await all<MessageRow>(
    db,
    `WITH RECURSIVE page (number, bytes) AS (
       SELECT 0, 0::bigint
       UNION ALL
       SELECT number + 1, bytes + ${frameBytes} + coalesce((SELECT octet_length(m.payload::text) FROM messages m
         WHERE m.workspace_id = $1 AND m.message_id = ($3::uuid[])[number + 1]), 0)
       FROM page WHERE number < cardinality($3::uuid[]) AND bytes <= ${maxPageBytes}
     )
     SELECT m.message_id, m.conversation_id, c.type AS conversation_type, m.seq, m.sender_id,
       p.display_name AS sender_name, m.direction, m.reply_to, m.origin, m.created_at,
       CASE WHEN array_position($3::uuid[], m.message_id)
         <= (SELECT max(number) FROM page WHERE number <= 1 OR bytes <= ${maxPageBytes}) THEN m.payload END AS payload,
       CASE WHEN c.type = 'private' THEN (
         SELECT o.participant_id FROM members o
         WHERE o.conversation_id = m.conversation_id AND o.participant_id <> m.sender_id LIMIT 1) END AS recipient_id
     FROM unnest($2::uuid[]) AS i (message_id)
     JOIN messages m ON m.workspace_id = $1 AND m.message_id = i.message_id
     LEFT JOIN participants p ON p.participant_id = m.sender_id
     LEFT JOIN conversations c ON c.conversation_id = m.conversation_id`,
    [workspaceId, ids, newIds],
  );
  return new Map(rows.map((row) => [row.message_id, row]));
}

const frameBytes = 1_000;

async function loadDeliveries(
  db: Db,
  workspaceId: string,
  deliveryIds: readonly string[],
): Promise<Map<string, DeliveryRow>> {
  if (deliveryIds.length === 0) return new Map();
  const rows = await all<DeliveryRow>(
    db,
    `SELECT d.delivery_id, d.identifier, d.channel_account_id FROM unnest($2::uuid[]) AS i (delivery_id)
     JOIN deliveries d ON d.delivery_id = i.delivery_id AND d.workspace_id = $1`,
    [workspaceId, [...new Set(deliveryIds)]],
  );
  return new Map(rows.map((row) => [row.delivery_id, row]));
}

/** Null for a deleted message. */
export function messageEvent(messageId: string, { messages }: MessageFacts): EventContent | null {
  const message = messages.get(messageId);
  if (message === undefined) return null;
  const { message_id, conversation_id, seq, sender_id, recipient_id, direction, reply_to, origin } = message;
  const payload = message.payload!;
  const frameFor = (viewer: Viewer): EventFrame => ({
    type: "NEW_MESSAGE",
    message_id,
    conversation_id,
    conversation_type: message.conversation_type,
    seq,
    direction,
    sender_id,
    sender_name: message.sender_name,
    recipient_id,
    channel: origin?.channel ?? null,
    channel_account_id: origin?.channel_account_id ?? null,
    ...contactFields(viewer, sender_id, origin?.channel, origin?.identifier, origin?.provider_message_id),
    content: payload.text ?? payload.caption ?? null,
    payload,
    file_id: payload.file_id ?? null,
    reply_to,
    route: origin?.route ?? null,
    sent_at: toIso(origin?.sent_at),
    created_at: message.created_at.toISOString(),
    timestamp: message.created_at.getTime(),
  });
  return {
    name: direction === "inbound" ? "message.received" : "message.accepted",
    conversationId: conversation_id,
    frame: frameFor(anyAgent),
    memberFrame: origin === null ? null : frameFor(anyMember),
  };
}

export function statusEvent(event: StoredStatus, { messages, deliveries }: MessageFacts): EventContent {
  const [, conversation_id, message_id, delivery_id, recipient_id, channel, status, error] = event;
  const [sentAt, platformAt, providerMessageId] = event.slice(8) as (string | null)[];
  const message = messages.get(message_id);
  const { identifier = null, channel_account_id = null } = deliveries.get(delivery_id) ?? {};
  const frameFor = (viewer: Viewer): EventFrame => ({
    type: "MESSAGE_STATUS",
    message_id,
    conversation_id,
    conversation_type: message?.conversation_type ?? null,
    seq: message?.seq ?? null,
    delivery_id,
    sender_id: message?.sender_id ?? null,
    sender_name: message?.sender_name ?? null,
    recipient_id,
    channel,
    channel_account_id,
    ...contactFields(viewer, recipient_id, channel, identifier, providerMessageId),
    reply_to: message?.reply_to ?? null,
    status,
    error,
    sent_at: toIso(sentAt),
    platform_at: toIso(platformAt),
  });
  const waitsInApp = channel === "app" && status === "in_transit";
  return {
    name: `message.${status}`,
    conversationId: conversation_id,
    awaits: waitsInApp ? { deliveryId: delivery_id, recipientId: recipient_id } : null,
    frame: frameFor(anyAgent),
    memberFrame: identifier === null ? null : frameFor(anyMember),
  };
}

/** Fields that only callers who see addresses get: a platform's ids of messages may contain the number. */
function contactFields(
  viewer: Viewer,
  participantId: string,
  channel: string | undefined,
  identifier: string | null | undefined,
  providerMessageId: string | null | undefined,
) {
  const isShown = seesAddressesOf(viewer, participantId);
  return {
    address: isShown && channel && identifier ? formatAddress({ channel, identifier }) : null,
    provider_message_id: (isShown && providerMessageId) || null,
  };
}

function toIso(time: string | null | undefined): string | null {
  return time == null ? null : new Date(time).toISOString();
}
