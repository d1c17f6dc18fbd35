/** The frames of a socket. Each has a cursor: resuming from it repeats and misses nothing. */

import type { Frame, GapFrame, webhooks } from "../../contract/openapi.ts";

/** The events of the feed, each once and in order. */
export type EventFrame = Exclude<Frame, GapFrame>;
export type EventName = EventFrame["event"];

export type WebhookBody = {
  [Name in keyof webhooks]: webhooks[Name]["post"]["requestBody"]["content"]["application/json"];
}[keyof webhooks];

/** Not in the feed: only for connected clients. */
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

/** The events after `from` follow, then RESUMED and LIVE. Events that this socket received before may be repeated. */
export type ResumingFrame = { type: "RESUMING"; cursor: string; from: string };
export type ResumedFrame = { type: "RESUMED"; cursor: string; from: string; count: number };
export type LiveFrame = { type: "LIVE"; cursor: string };
export type PongFrame = { type: "PONG"; cursor: string };

export type RealtimeFrame = EventFrame | GapFrame | TypingFrame | PresenceFrame | ErrorFrame;
export type ServerFrame = RealtimeFrame | HelloFrame | ResumingFrame | ResumedFrame | LiveFrame | PongFrame;

export type ClientFrame =
  | { type: "start" }
  | { type: "resume"; cursor: string }
  | { type: "read"; conversation_id: string; seq: number }
  | { type: "typing"; conversation_id: string }
  | { type: "ping" };

export function isEvent(frame: ServerFrame): frame is EventFrame {
  return (
    frame.type === "NEW_MESSAGE" ||
    frame.type === "MESSAGE_STATUS" ||
    frame.type === "CONVERSATION" ||
    frame.type === "FILE" ||
    frame.type === "TASK" ||
    frame.type === "WEBHOOK_ENDPOINT" ||
    frame.type === "CHANNEL_ACCOUNT"
  );
}
