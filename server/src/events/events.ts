/** The door of events: what the outside is told, in one order for each workspace. */

export { type Cursor, type GapReason, isCursor, parseCursor, toCursor } from "./cursor.ts";
export { type EventNotifier, openEventNotifier } from "./event-notifier.ts";
export {
  checkCursors,
  deleteOldEvents,
  type FeedPage,
  maxPage,
  positionAt,
  readFeed,
  readHead,
  readHeads,
  readOldest,
} from "./feed.ts";
export type { FeedEvent } from "./feed-event.ts";
export { mayRead, requireFeedScopes, requireMayRead } from "./readable.ts";
