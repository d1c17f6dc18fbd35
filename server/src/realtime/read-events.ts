import { maxEvents } from "../../../contract/src/events.ts";
import { type Principal, seesAllConversations } from "../credentials/credentials.ts";
import { type Cursor, readFeed, readOldest, toCursor } from "../events/events.ts";
import { maxPageBytes } from "../lib/page-bytes.ts";
import type { Db } from "../lib/query.ts";
import { openMemberships } from "./memberships.ts";
import { sightOf } from "./subscriber.ts";

/**
 * Events that one call looks through for those that a member sees: after it, the page ends where it is. Where few are
 * seen, more are read at a time, so that however small a page is asked for, a call costs a few dozen statements.
 */
const maxScanned = 5_000;

type TellableFrame = { type: string; cursor: string } & Record<string, unknown>;

/**
 * Up to `limit` events that the caller sees after a position (null: from the oldest one kept), and the next cursor. A
 * page of long events has fewer, so that writing it does not hold up the event loop.
 */
export async function readEvents(
  db: Db,
  principal: Principal,
  after: Cursor | null,
  limit: number,
): Promise<{ data: TellableFrame[]; next_cursor: string }> {
  const { workspaceId } = principal;
  const memberships = openMemberships(db);
  const data: TellableFrame[] = [];
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
      const sight = sightOf(principal, event, membersOf);
      if (sight === null) continue;
      const cursor = toCursor(event);
      const { frame, memberFrame, partingFrame } = event;
      const told = { whole: frame, member: memberFrame ?? frame, parting: partingFrame ?? frame }[sight];
      bytes += Buffer.byteLength(JSON.stringify(told));
      if (bytes > maxPageBytes && data.length > 0) return { data, next_cursor: data.at(-1)!.cursor };
      data.push({ ...told, cursor });
      if (data.length === limit) return { data, next_cursor: cursor };
    }
    from = page.cursor;
    // The next page would hardly fit, or is not there.
    if (bytes > maxPageBytes / 2 || page.last >= page.head) break;
  }
  return { data, next_cursor: toCursor(from) };
}
