/** What a socket tells. Every frame has a cursor: who goes on from there misses nothing and gets nothing twice. */

import type { ChannelAccountStatus, Conversation, MessageStatus, Payload } from "./resources.ts";

/** Fields of every event of the feed. `event` is its type, as for webhook endpoints. */
type Frame<Type extends string, Event extends EventName> = {
  type: Type;
  cursor: string;
  event: Event;
  /** When it was committed. */
  at: string;
};

/** Fields of every event about a message. Fields marked * are null for callers with the role member. */
type OfMessage = {
  message_id: string;
  conversation_id: string;
  conversation_type: "private" | "group" | null;
  /** The present name. */
  sender_name: string | null;
  /** The account of yours on that channel. */
  channel_account_id: string | null;
  /** `channel:identifier` of the sender, or of the delivery's recipient. */
  address: string | null;
  /** The platform's id of the message. * */
  provider_message_id: string | null;
  /** The message of this conversation that it answers. */
  reply_to: string | null;
};

export type NewMessageEvent = OfMessage & {
  seq: number;
  direction: "inbound" | "outbound";
  sender_id: string;
  /** The other one of a private conversation; null in a group. */
  recipient_id: string | null;
  /** The channel on which it came; null when a program or a user wrote it. */
  channel: string | null;
  /** The text, or the caption of a file. */
  content: string | null;
  payload: Payload;
  file_id: string | null;
  /** Why an inbound message landed in this conversation. */
  route: "quoted" | "last_used" | "private" | null;
  /** When the person sent it, according to the platform. */
  sent_at: string | null;
  /** When the hub accepted it. */
  created_at: string;
};

export type MessageStatusEvent = OfMessage & {
  seq: number | null;
  delivery_id: string;
  sender_id: string | null;
  recipient_id: string;
  channel: string;
  status: Exclude<MessageStatus, "accepted">;
  error: { code: string; message: string } | null;
  /** When the platform took it. */
  sent_at: string | null;
  /** When it reached this status, according to the platform's receipt. */
  platform_at: string | null;
};

/** A conversation is new or has changed: as it is now. */
export type ConversationEvent = {
  conversation: Conversation;
};

export type WebhookEndpointEvent = {
  webhook_endpoint_id: string;
  status: "enabled" | "disabled";
  reason: string;
};

export type ChannelAccountEvent = {
  channel_account_id: string;
  channel: string;
  name: string;
  status: ChannelAccountStatus;
  /** Why it needs attention, and the platform's answer; else null. */
  reason: "CREDENTIALS_INVALID" | "ACCOUNT_RESTRICTED" | null;
  detail: string | null;
};

/** The fields of each type of event: `data` of a webhook's body. */
export interface EventData {
  "message.received": NewMessageEvent;
  "message.accepted": NewMessageEvent;
  "message.in_transit": MessageStatusEvent;
  "message.sent": MessageStatusEvent;
  "message.delivered": MessageStatusEvent;
  "message.read": MessageStatusEvent;
  "message.failed": MessageStatusEvent;
  "conversation.created": ConversationEvent;
  "conversation.updated": ConversationEvent;
  "webhook_endpoint.enabled": WebhookEndpointEvent;
  "webhook_endpoint.disabled": WebhookEndpointEvent;
  "channel_account.active": ChannelAccountEvent;
  "channel_account.disabled": ChannelAccountEvent;
  "channel_account.needs_attention": ChannelAccountEvent;
}
export type EventName = keyof EventData;

/** The body of a request to a webhook endpoint. */
export type WebhookEvent =
  | { [Name in EventName]: { type: Name; timestamp: string; data: EventData[Name] } }[EventName]
  | { type: "webhook_endpoint.test"; timestamp: string; data: { webhook_endpoint_id: string } };

export type NewMessageFrame = Frame<"NEW_MESSAGE", "message.received" | "message.accepted"> &
  NewMessageEvent & {
    /** `created_at` in milliseconds since the Unix epoch. */
    timestamp: number;
  };
export type MessageStatusFrame = Frame<"MESSAGE_STATUS", `message.${MessageStatusEvent["status"]}`> &
  MessageStatusEvent;
export type ConversationFrame = Frame<"CONVERSATION", "conversation.created" | "conversation.updated"> &
  ConversationEvent;
export type WebhookEndpointFrame = Frame<"WEBHOOK_ENDPOINT", "webhook_endpoint.enabled" | "webhook_endpoint.disabled"> &
  WebhookEndpointEvent;
export type ChannelAccountFrame = Frame<"CHANNEL_ACCOUNT", `channel_account.${ChannelAccountStatus}`> &
  ChannelAccountEvent;

/** The events of the feed: each comes once and in order. */
export type EventFrame =
  | NewMessageFrame
  | MessageStatusFrame
  | ConversationFrame
  | WebhookEndpointFrame
  | ChannelAccountFrame;

/** Events after the last cursor are no longer there, or the cursor is not of this feed: read the state anew. */
export type GapFrame = { type: "GAP"; cursor: string; reason: "expired" | "unknown" };

/** Not in the feed: told to who is there. */
export type TypingFrame = {
  type: "TYPING";
  cursor: string;
  event: "conversation.typing";
  conversation_id: string;
  user_id: string;
};
export type PresenceFrame = {
  type: "PRESENCE";
  cursor: string;
  event: "user.presence";
  user_id: string;
  online: boolean;
};

/** What this client said was refused. */
export type ErrorFrame = {
  type: "ERROR";
  cursor: string;
  code: string;
  message: string;
  details: Record<string, unknown>;
};

export type HelloFrame = {
  type: "HELLO";
  cursor: string;
  connection_id: string;
  heartbeat_seconds: number;
  /** Live events begin after the client's first frame, or after this time. */
  start_within_seconds: number;
};

/** The events after `from` follow, then RESUMED and LIVE. Events that came on this socket before may come again. */
export type ResumingFrame = { type: "RESUMING"; cursor: string; from: string };
export type ResumedFrame = { type: "RESUMED"; cursor: string; from: string; count: number };
/** Live events follow. */
export type LiveFrame = { type: "LIVE"; cursor: string };
export type PongFrame = { type: "PONG"; cursor: string };

/** What a program is told. */
export type RealtimeFrame = EventFrame | GapFrame | TypingFrame | PresenceFrame | ErrorFrame;
export type ServerFrame = RealtimeFrame | HelloFrame | ResumingFrame | ResumedFrame | LiveFrame | PongFrame;

export type ClientFrame =
  | { type: "start" }
  | { type: "resume"; cursor: string }
  | { type: "read"; conversation_id: string; seq: number }
  | { type: "typing"; conversation_id: string }
  | { type: "ping" };

/** Those of the feed, in which a gap stands where events are missing. */
export interface EventPage {
  data: (EventFrame | GapFrame)[];
  /** Ask again with `after` = this; it is never the end. */
  next_cursor: string;
}

export function isEvent(frame: ServerFrame): frame is EventFrame {
  return (
    frame.type === "NEW_MESSAGE" ||
    frame.type === "MESSAGE_STATUS" ||
    frame.type === "CONVERSATION" ||
    frame.type === "WEBHOOK_ENDPOINT" ||
    frame.type === "CHANNEL_ACCOUNT"
  );
}
