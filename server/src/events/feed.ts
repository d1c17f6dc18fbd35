import type { PipelineDb } from "../database-roles.ts";
import { isDurable } from "../lib/early-commit.ts";
import { all, type Db, maybe, one, run } from "../lib/query.ts";
import { type Batch, type Cursor, firstOf, type GapReason, gapAfter, markOf } from "./cursor.ts";
import type { FeedEvent } from "./feed-event.ts";
import { hydrateSome, type Stored, type StoredEvent } from "./hydrate.ts";

/** A part of the feed: events in the order of their commits, at positions without gaps, see migration 0007. */
export type FeedPage =
  /** Events right after the cursor, up to `last`; `head` is the position of the newest event. */
  | { kind: "events"; events: FeedEvent[]; last: number; head: number; cursor: Cursor }
  /** Events after the cursor were deleted, or it is of another feed: read the state, and resume from `cursor`. */
  | { kind: "gap"; reason: GapReason; head: number; cursor: Cursor };

const maxPage = 1_000;

/**
 * Up to `limit` events after a cursor, or after a position, which is not checked. A page of long events has fewer, but
 * at least one. Continue from the page's `cursor`. Takes a few round trips.
 */
export async function readFeed(db: Db, workspaceId: string, after: Cursor | number, limit: number): Promise<FeedPage> {
  const from = typeof after === "number" ? { position: after, mark: null } : after;
  const rows = await all<BatchRow>(db, statement, [workspaceId, from.position, Math.min(limit, maxPage)]);
  const newest = { position: rows[0]?.head ?? 0, mark: rows[0]?.head_mark ?? null };
  const head = newest.position;
  const batches = rows.filter(isBatch);
  const reason = gapAfter(from, newest, batches[0]);
  if (reason !== null) return { kind: "gap", reason, head, cursor: newest };
  const stored = unbroken(batches)
    .flatMap(unpack)
    .filter(({ position }) => position > from.position);
  const wanted = stored.slice(0, limit);
  if (wanted.length === 0 && from.position < head) return { kind: "gap", reason: "expired", head, cursor: newest };
  const { events, count } = await hydrateSome(db, workspaceId, wanted);
  const { position, mark } = wanted[count - 1] ?? newest;
  return { kind: "events", events, last: position, head, cursor: { position, mark } };
}

/** Why the feeds cannot be read after these cursors; null where they can. One round trip. */
export async function checkCursors(
  db: Db,
  asked: readonly { workspaceId: string; cursor: Cursor }[],
): Promise<(GapReason | null)[]> {
  const rows = await all<Pick<BatchRow, "head" | "head_mark"> & (Batch | { last_position: null })>(
    db,
    `SELECT coalesce(h.last_position, 0) AS head, ${markOf("h.last_event_at")} AS head_mark,
       n.last_position, n.event_count, ${markOf("n.created_at")} AS mark, ${isDurable}
     FROM unnest($1::uuid[], $2::bigint[]) WITH ORDINALITY AS c (workspace_id, position, number)
     LEFT JOIN event_heads h USING (workspace_id)
     LEFT JOIN LATERAL (
       SELECT e.last_position, e.event_count, e.created_at FROM events e
       WHERE e.workspace_id = c.workspace_id AND e.last_position >= c.position ORDER BY e.last_position LIMIT 1
     ) n ON true
     ORDER BY c.number`,
    [asked.map(({ workspaceId }) => workspaceId), asked.map(({ cursor }) => cursor.position)],
  );
  return rows.map((row, index) => {
    const head = { position: row.head, mark: row.head_mark };
    return gapAfter(asked[index]!.cursor, head, row.last_position === null ? undefined : row);
  });
}

export async function readHead(db: Db, workspaceId: string): Promise<number> {
  const row = await one<{ head: number }>(
    db,
    `SELECT coalesce((SELECT last_position FROM event_heads WHERE workspace_id = $1), 0) AS head, ${isDurable}`,
    [workspaceId],
  );
  return row.head;
}

/** The cursors of the newest events of several feeds; feeds without an event are left out. */
export async function readHeads(db: Db, workspaceIds: readonly string[]): Promise<Map<string, Cursor>> {
  const rows = await all<{ workspace_id: string } & Cursor>(
    db,
    `SELECT workspace_id, last_position AS position, ${markOf("last_event_at")} AS mark, ${isDurable}
     FROM event_heads WHERE workspace_id = ANY ($1)`,
    [workspaceIds],
  );
  return new Map(rows.map(({ workspace_id, position, mark }) => [workspace_id, { position, mark }]));
}

export async function readOldest(db: Db, workspaceId: string): Promise<number> {
  const row = await maybe<{ position: number }>(
    db,
    `SELECT last_position - event_count AS position FROM events WHERE workspace_id = $1 ORDER BY last_position LIMIT 1`,
    [workspaceId],
  );
  return row?.position ?? readHead(db, workspaceId);
}

/** The position before the first event at or after a time: read from there to get all events since. */
export async function positionAt(db: Db, workspaceId: string, at: Date): Promise<number> {
  const row = await maybe<{ position: number }>(
    db,
    `SELECT last_position - event_count AS position FROM events WHERE workspace_id = $1 AND created_at >= $2
     ORDER BY last_position LIMIT 1`,
    [workspaceId, at],
  );
  return row?.position ?? readHead(db, workspaceId);
}

/** Batches deleted by one statement, which holds no lock for long. */
const deleteBatch = 5_000;

/** Deletes events that are older than `retentionMs`. Older cursors are a gap from then on. Returns the number of batches. */
export async function deleteOldEvents(db: PipelineDb, now: Date, retentionMs: number): Promise<number> {
  const before = new Date(now.getTime() - retentionMs);
  for (let deleted = 0; ; ) {
    const count = await run(
      db,
      `DELETE FROM events WHERE ctid = ANY (ARRAY(
         SELECT e.ctid FROM event_heads h CROSS JOIN LATERAL (
           SELECT created_at FROM events o WHERE o.workspace_id = h.workspace_id ORDER BY last_position LIMIT 1
         ) oldest CROSS JOIN LATERAL (
           SELECT ctid, created_at FROM events o WHERE o.workspace_id = h.workspace_id AND oldest.created_at < $1
           ORDER BY last_position LIMIT $2
         ) e WHERE e.created_at < $1 LIMIT $2))`,
      [before, deleteBatch],
    );
    deleted += count;
    if (count < deleteBatch) return deleted;
  }
}

interface BatchRow {
  head: number;
  head_mark: number | null;
  last_position: number | null;
  event_count: number;
  events: string | null;
  created_at: Date;
  mark: number;
}

/**
 * The batch with the cursor's event, and later ones. Each has at least one event, so `limit` of them are enough; the
 * text of further batches is not read, nor that of a batch needed only for its mark.
 */
const statement = `
SELECT h.last_position AS head, ${markOf("h.last_event_at")} AS head_mark,
  b.last_position, b.event_count, b.events, b.created_at, ${markOf("b.created_at")} AS mark, ${isDurable}
FROM event_heads h LEFT JOIN LATERAL (
  SELECT * FROM (
    SELECT e.last_position, e.event_count, CASE WHEN e.last_position > $2 THEN e.events END AS events, e.created_at
    FROM events e
    WHERE e.workspace_id = h.workspace_id AND e.last_position >= $2::bigint
    ORDER BY e.last_position LIMIT $3::integer + 1
  ) next WHERE next.last_position - next.event_count < $2::bigint + $3
) b ON true
WHERE h.workspace_id = $1 ORDER BY b.last_position`;

function isBatch(row: BatchRow): row is BatchRow & { last_position: number } {
  return row.last_position !== null;
}

/**
 * Up to the first hole, where the next read is a gap: when the database's time was set back, newer events are deleted
 * before older ones.
 */
function unbroken<Batch extends BatchRow & { last_position: number }>(batches: readonly Batch[]): readonly Batch[] {
  const hole = batches.findIndex(
    (batch, index) => index > 0 && firstOf(batch) !== batches[index - 1]!.last_position + 1,
  );
  return hole === -1 ? batches : batches.slice(0, hole);
}

function unpack(batch: BatchRow & { last_position: number }): StoredEvent[] {
  if (batch.events === null) return [];
  const { created_at: at, mark } = batch;
  const events = JSON.parse(batch.events) as Stored[];
  return events.map((event, index) => ({ position: firstOf(batch) + index, mark, at, event }));
}
