/** The entrance of events: the feed of each workspace, what a caller may see of it, and notifications about it. */

export { type Cursor, type GapReason, isCursor, parseCursor, toCursor } from "./cursor.ts";
export { type EventNotifier, openEventNotifier } from "./event-notifier.ts";
export {
  checkCursors,
  deleteOldEvents,
  type FeedPage,
  positionAt,
  readFeed,
  readHead,
  readHeads,
  readOldest,
} from "./feed.ts";
export type { FeedEvent } from "./feed-event.ts";
export { Memberships, type MembersOf } from "./memberships.ts";
export { acceptedEvent, publishedColumns, publishStatuses } from "./publish.ts";
export { readEvents } from "./read-events.ts";
export { isOfEveryFeed, mayRead, requireFeedScopes, requireMayRead, seesOutside, visibleFrame } from "./readable.ts";
export { openTypingNotifier, type TypingNotifier } from "./typing.ts";
