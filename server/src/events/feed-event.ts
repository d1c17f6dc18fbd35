import type { EventName, FrameType } from "./vocabulary.ts";

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

export type EventFrame = { type: FrameType } & Record<string, unknown>;

/** An event without its place in the feed, and its frames without what every frame of an event has. */
export type Told = Pick<FeedEvent, "name" | "conversationId" | "frame"> &
  Partial<Pick<FeedEvent, "alsoSeenBy" | "awaits" | "memberFrame" | "partingFrame">>;
