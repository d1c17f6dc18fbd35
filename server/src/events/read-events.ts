import { maxEvents } from "../../../contract/src/events.ts";
import { type Principal, seesAllConversations } from "../credentials/credentials.ts";
import { maxPageBytes } from "../lib/page-bytes.ts";
import type { Db } from "../lib/query.ts";
import { type Cursor, toCursor } from "./cursor.ts";
import { readFeed, readOldest } from "./feed.ts";
import { Memberships } from "./memberships.ts";
import { visibleFrame } from "./readable.ts";

/** Most events that one call reads. Its pages double in size, so a caller who sees few costs few statements. */
const maxScanned = 5_000;

type Frame = { type: string; cursor: string } & Record<string, unknown>;

/**
 * Up to `limit` events that the caller sees after a cursor (null: from the oldest one kept), and the next cursor. A page
 * of long events has fewer, so that writing it does not hold up the event loop.
 */
export async function readEvents(
  db: Db,
  principal: Principal,
  after: Cursor | null,
  limit: number,
): Promise<{ data: Frame[]; next_cursor: string }> {
  const { workspaceId } = principal;
  const memberships = new Memberships(db);
  const data: Frame[] = [];
  let bytes = 0;
  let from = after ?? { position: await readOldest(db, workspaceId), mark: null };
  const end = from.position + maxScanned;
  for (let pageSize = limit; from.position < end; pageSize = Math.min(pageSize * 2, maxEvents)) {
    const page = await readFeed(db, workspaceId, from, pageSize);
    if (page.kind === "gap") {
      const cursor = toCursor(page.cursor);
      return { data: [...data, { type: "GAP", cursor, reason: page.reason }], next_cursor: cursor };
    }
    const conversationIds = page.events.flatMap(({ conversationId }) => conversationId ?? []);
    const membersOf = await memberships.load(seesAllConversations(principal) ? [] : conversationIds);
    for (const event of page.events) {
      const visible = visibleFrame(principal, event, membersOf);
      if (visible === null) continue;
      const cursor = toCursor(event);
      const frame = event[visible] ?? event.frame;
      bytes += Buffer.byteLength(JSON.stringify(frame));
      if (bytes > maxPageBytes && data.length > 0) return { data, next_cursor: data.at(-1)!.cursor };
      data.push({ ...frame, cursor });
      if (data.length === limit) return { data, next_cursor: cursor };
    }
    from = page.cursor;
    if (bytes > maxPageBytes / 2 || page.last >= page.head) break;
  }
  return { data, next_cursor: toCursor(from) };
}
