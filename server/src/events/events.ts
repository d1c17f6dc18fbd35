/** The door of events: what the outside is told, in one order for each workspace. */
export {
  deleteOldEvents,
  type FeedPage,
  type GapReason,
  maxPage,
  parseCursor,
  positionAt,
  readFeed,
  readHead,
  readHeads,
  readOldest,
  toCursor,
} from "./feed.ts";
export { type EventName, eventNames, type FeedEvent, type FrameType } from "./hydrate.ts";
export { type News, openNews } from "./news.ts";
export { feedScopes, requireFeedScopes, requireMayRead } from "./readable.ts";
