/** The door of events: what the outside is told, in one order for each workspace. */
export { type Cursor, type GapReason, parseCursor, toCursor } from "./cursor.ts";
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
export { type EventName, eventNames, type FeedEvent, type FrameType } from "./hydrate.ts";
export { type News, openNews } from "./news.ts";
export { feedScopes, requireFeedScopes, requireMayRead } from "./readable.ts";
