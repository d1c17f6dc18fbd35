import type { EventName, FrameType } from "./vocabulary.ts";

/** As readers of the feed get it. */
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
  /** The frame for members, without the addresses of others; null: the same frame. */
  memberFrame: EventFrame | null;
  /** The frame for `alsoSeenBy`: it says that they left, and shows nothing that happened since. */
  partingFrame: EventFrame | null;
}

export type EventFrame = { type: FrameType } & Record<string, unknown>;

/** An event without its place in the feed, and its frames without what every frame of an event has. */
export type Told = Pick<FeedEvent, "name" | "conversationId" | "frame"> &
  Partial<Pick<FeedEvent, "alsoSeenBy" | "awaits" | "memberFrame" | "partingFrame">>;
