import type { EventName, FrameType } from "../../../contract/src/events.ts";

export interface FeedEvent {
  position: number;
  mark: number;
  /** About when it was committed. */
  at: Date;
  name: EventName;
  /** The event is seen by all who see this conversation; null: by agents and admins. */
  conversationId: string | null;
  /** Of no conversation, and seen by this user and by admins alone; null: see above. */
  onlyFor: string | null;
  /** A participant who has just left, and sees the event too. */
  alsoSeenBy: string | null;
  /** A delivery that waits in a user's app. It is delivered when a socket of the user has received this event. */
  awaits: { deliveryId: string; recipientId: string } | null;
  frame: EventFrame;
  /** For members, without the addresses of others; null: the same frame. */
  memberFrame: EventFrame | null;
  /** For `alsoSeenBy`: it says that the participant left, and shows nothing later; null: the same frame. */
  partingFrame: EventFrame | null;
}

export type EventFrame = { type: FrameType } & Record<string, unknown>;

/** An event without its position, and its frames without the fields that all frames have. */
export type EventContent = Pick<FeedEvent, "name" | "conversationId" | "frame"> &
  Partial<Pick<FeedEvent, "onlyFor" | "alsoSeenBy" | "awaits" | "memberFrame" | "partingFrame">>;
