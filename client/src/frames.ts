/** What a socket tells. Every frame has a cursor: who goes on from there misses nothing and gets nothing twice. */

import type { Conversation, MessageStatus, Payload } from "./resources.ts";

export type NewMessageFrame = {
  type: "NEW_MESSAGE";
  cursor: string;
  message_id: string;
  conversation_id: string;
  seq: number;
  direction: "inbound" | "outbound";
  sender_id: string;
  /** The other one of a private conversation; null in a group. */
  recipient_id: string | null;
  /** The text, or the caption of a file. */
  content: string | null;
  payload: Payload;
  file_id: string | null;
  reply_to: string | null;
  /** Milliseconds since the Unix epoch. */
  timestamp: number;
};

export type MessageStatusFrame = {
  type: "MESSAGE_STATUS";
  cursor: string;
  message_id: string;
  conversation_id: string;
  delivery_id: string;
  recipient_id: string;
  channel: string;
  status: MessageStatus;
  error: { code: string; message: string } | null;
};

/** A conversation is new or has changed: as it is now. */
export type ConversationFrame = { type: "CONVERSATION"; cursor: string; conversation: Conversation };

export type WebhookEndpointFrame = {
  type: "WEBHOOK_ENDPOINT";
  cursor: string;
  webhook_endpoint_id: string;
  status: "enabled" | "disabled";
  reason: string;
};

/** The events of the feed: each comes once and in order. */
export type EventFrame = NewMessageFrame | MessageStatusFrame | ConversationFrame | WebhookEndpointFrame;

/** Events after the last cursor are no longer there, or the cursor is not of this feed: read the state anew. */
export type GapFrame = { type: "GAP"; cursor: string; reason: "expired" | "unknown" };

/** Not in the feed: told to who is there. */
export type TypingFrame = { type: "TYPING"; cursor: string; conversation_id: string; user_id: string };
export type PresenceFrame = { type: "PRESENCE"; cursor: string; user_id: string; online: boolean };

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
  /** Nothing live follows before the client's first frame, or before so many seconds have passed. */
  start_within_seconds: number;
};

/** The events after `from` follow, then RESUMED and LIVE. What came on this socket before may come again. */
export type ResumingFrame = { type: "RESUMING"; cursor: string; from: string };
export type ResumedFrame = { type: "RESUMED"; cursor: string; from: string; count: number };
/** What follows happens now. */
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
    frame.type === "WEBHOOK_ENDPOINT"
  );
}
