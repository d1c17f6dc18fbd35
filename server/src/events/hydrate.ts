import { type Conversation, loadConversations, showConversation } from "../conversations/conversations.ts";
import { anyAgent, anyMember, type Viewer } from "../identity/principal.ts";
import { all, type Db } from "../lib/query.ts";

/** An event as the feed keeps it: see migration 0007. */
export type Stored =
  | ["m", conversationId: string, messageId: string]
  | StoredStatus
  | ["c", conversationId: string, change: "created" | "updated", leftId: string | null]
  | ["w", webhookEndpointId: string, status: "enabled" | "disabled", reason: string];

type StoredStatus = [
  "s",
  conversationId: string,
  messageId: string,
  deliveryId: string,
  recipientId: string,
  channel: string,
  status: MessageStatus,
  error: { code: string; message: string } | null,
];

type MessageStatus = "accepted" | "in_transit" | "sent" | "delivered" | "read" | "failed";

export interface StoredEvent extends Pick<FeedEvent, "position" | "mark" | "at"> {
  event: Stored;
}

/** What an event is called where it is subscribed to. */
export const eventNames = [
  "message.received",
  "message.accepted",
  "message.in_transit",
  "message.sent",
  "message.delivered",
  "message.read",
  "message.failed",
  "conversation.created",
  "conversation.updated",
  "webhook_endpoint.enabled",
  "webhook_endpoint.disabled",
] as const;
export type EventName = (typeof eventNames)[number];

/** What the outside is told. */
export interface FeedEvent {
  position: number;
  /** See `Cursor`. */
  mark: number;
  /** When it was committed, nearly. */
  at: Date;
  name: EventName;
  /** Who sees this conversation sees the event; null: agents and admins. */
  conversationId: string | null;
  /** A participant who sees it too: one who has just left. */
  alsoSeenBy: string | null;
  /** Set when a delivery waits in somebody's app: once they have this event, it is delivered. */
  awaits: { deliveryId: string; recipientId: string } | null;
  /** The frame without its cursor. */
  frame: EventFrame;
  /** What members are told in its place, who do not see the addresses of others; null: the same. */
  memberFrame: EventFrame | null;
  /** What `alsoSeenBy` is told in its place: that it is over, and nothing of what has become of it since. */
  partingFrame: EventFrame | null;
}

type EventFrame = { type: FrameType } & Record<string, unknown>;

export type FrameType = "NEW_MESSAGE" | "MESSAGE_STATUS" | "CONVERSATION" | "WEBHOOK_ENDPOINT";

/**
 * Completes stored events with what they are about: messages as they were written, conversations as they are now. One
 * round trip for messages and a few for conversations, whatever the count. An event about what is gone is left out.
 */
export async function hydrate(db: Db, workspaceId: string, stored: readonly StoredEvent[]): Promise<FeedEvent[]> {
  const events = stored.map(({ event }) => event);
  const [messages, conversations] = await Promise.all([
    loadMessages(
      db,
      workspaceId,
      events.flatMap((event) => (event[0] === "m" ? [event[2]] : [])),
    ),
    loadChanged(db, [...new Set(events.flatMap((event) => (event[0] === "c" ? [event[1]] : [])))]),
  ]);
  return stored.flatMap(({ position, mark, at, event }) => {
    const told = tell(event, messages, conversations);
    return told === null
      ? []
      : [{ position, mark, at, alsoSeenBy: null, awaits: null, memberFrame: null, partingFrame: null, ...told }];
  });
}

type Told = Pick<FeedEvent, "name" | "conversationId" | "frame"> &
  Partial<Pick<FeedEvent, "alsoSeenBy" | "awaits" | "memberFrame" | "partingFrame">>;

function tell(
  event: Stored,
  messages: ReadonlyMap<string, MessageRow>,
  conversations: ReadonlyMap<string, Conversation>,
): Told | null {
  switch (event[0]) {
    case "m": {
      const message = messages.get(event[2]);
      return message === undefined ? null : tellMessage(message);
    }
    case "s":
      return tellStatus(event);
    case "c": {
      const [, conversationId, change, leftId] = event;
      const conversation = conversations.get(conversationId);
      if (conversation === undefined) return null;
      const frameOf = (shown: Conversation, viewer: Viewer) => ({
        type: "CONVERSATION" as const,
        conversation: showConversation(shown, viewer),
      });
      // It is read as it is now, also by one who left long ago.
      const partingFrame =
        leftId === null ? null : frameOf({ ...conversation, title: null, members: [], lastSeq: 0 }, anyMember);
      const name = `conversation.${change}` as const;
      const [frame, memberFrame] = [frameOf(conversation, anyAgent), frameOf(conversation, anyMember)];
      return { name, conversationId, alsoSeenBy: leftId, frame, memberFrame, partingFrame };
    }
    case "w": {
      const [, webhook_endpoint_id, status, reason] = event;
      const frame = { type: "WEBHOOK_ENDPOINT" as const, webhook_endpoint_id, status, reason };
      return { name: `webhook_endpoint.${status}`, conversationId: null, frame };
    }
    default:
      return event satisfies never;
  }
}

function tellMessage(message: MessageRow): Told {
  const { message_id, conversation_id, seq, sender_id, recipient_id, direction, payload, reply_to } = message;
  return {
    name: direction === "inbound" ? "message.received" : "message.accepted",
    conversationId: conversation_id,
    frame: {
      type: "NEW_MESSAGE",
      message_id,
      conversation_id,
      seq,
      direction,
      sender_id,
      recipient_id,
      content: payload.text ?? payload.caption ?? null,
      payload,
      file_id: payload.file_id ?? null,
      reply_to,
      timestamp: message.created_at.getTime(),
    },
  };
}

function tellStatus(event: StoredStatus): Told {
  const [, conversation_id, message_id, delivery_id, recipient_id, channel, status, error] = event;
  const waitsInApp = channel === "app" && status === "in_transit";
  return {
    name: `message.${status}`,
    conversationId: conversation_id,
    awaits: waitsInApp ? { deliveryId: delivery_id, recipientId: recipient_id } : null,
    frame: { type: "MESSAGE_STATUS", message_id, conversation_id, delivery_id, recipient_id, channel, status, error },
  };
}

interface MessageRow {
  message_id: string;
  conversation_id: string;
  seq: number;
  sender_id: string;
  recipient_id: string | null;
  direction: "inbound" | "outbound";
  payload: { type: string; text?: string; caption?: string; file_id?: string };
  reply_to: string | null;
  created_at: Date;
}

/** `recipient_id` is the other one of a private conversation, and null in a group. */
async function loadMessages(db: Db, workspaceId: string, messageIds: string[]): Promise<Map<string, MessageRow>> {
  if (messageIds.length === 0) return new Map();
  const rows = await all<MessageRow>(
    db,
    `SELECT m.message_id, m.conversation_id, m.seq, m.sender_id, m.direction, m.payload, m.reply_to, m.created_at,
       CASE WHEN (SELECT c.type FROM conversations c WHERE c.conversation_id = m.conversation_id) = 'private' THEN (
         SELECT o.participant_id FROM members o
         WHERE o.conversation_id = m.conversation_id AND o.participant_id <> m.sender_id LIMIT 1) END AS recipient_id
     FROM unnest($2::uuid[]) AS i (message_id)
     JOIN messages m ON m.workspace_id = $1 AND m.message_id = i.message_id`,
    [workspaceId, messageIds],
  );
  return new Map(rows.map((row) => [row.message_id, row]));
}

async function loadChanged(db: Db, conversationIds: string[]): Promise<Map<string, Conversation>> {
  if (conversationIds.length === 0) return new Map();
  const conversations = await loadConversations(db, conversationIds);
  return new Map(conversations.map((conversation) => [conversation.conversationId, conversation]));
}
