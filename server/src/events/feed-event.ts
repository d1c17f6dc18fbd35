import type { EventName, FrameType } from "../../../contract/src/events.ts";

/** An event as readers of the feed get it. */
export interface FeedEvent {
  position: number;
  /** See `Cursor`. */
  mark: number;
  /** About when it was committed. */
  at: Date;
  name: EventName;
  /** Readers that see this conversation see the event; null: agents and admins. */
  conversationId: string | null;
  /** A participant who has just left, and sees the event too. */
  alsoSeenBy: string | null;
  /** A delivery that waits in a user's app: it is delivered when a socket of the user has taken this event. */
  awaits: { deliveryId: string; recipientId: string } | null;
  /** The frame without its cursor. */
  frame: EventFrame;
  /** The frame for members, without the addresses of others; null: the same frame. */
  memberFrame: EventFrame | null;
  /** The frame for `alsoSeenBy`: it says that the participant left, and shows nothing later. */
  partingFrame: EventFrame | null;
}

export type EventFrame = { type: FrameType } & Record<string, unknown>;

/** An event without its position, and its frames without the fields that all frames have. */
export type Told = Pick<FeedEvent, "name" | "conversationId" | "frame"> &
  Partial<Pick<FeedEvent, "alsoSeenBy" | "awaits" | "memberFrame" | "partingFrame">>;
