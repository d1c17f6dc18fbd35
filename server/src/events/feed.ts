import { invalid } from "../errors.ts";
import { all, type Db, maybe, one, run } from "../lib/query.ts";
import { type FeedEvent, hydrate, type Stored } from "./hydrate.ts";

/**
 * The feed of a workspace: its events in the order in which they were committed, at the positions 1, 2, 3 … without
 * gaps. Migration 0007 says how that holds. A *cursor* is the position of the last event that a reader has, as text.
 */
export type FeedPage =
  /** Events right after the cursor, oldest first; `last` is the position up to which was read, `head` the newest of all. */
  | { kind: "events"; events: FeedEvent[]; last: number; head: number }
  /** What follows the cursor was cleared away, or the cursor is not of this feed: read the state anew, go on from `head`. */
  | { kind: "gap"; reason: GapReason; head: number };

/** `expired`: older than EVENTS_RETENTION. `unknown`: ahead of the feed, as after a restore of the database. */
export type GapReason = "expired" | "unknown";

/** Most events that one call reads. */
export const maxPage = 1_000;

/** Up to `limit` events after the position `after`. Two round trips; safe to call at any time, from any process. */
export async function readFeed(db: Db, workspaceId: string, after: number, limit: number): Promise<FeedPage> {
  const rows = await all<BatchRow>(db, statement, [workspaceId, after, Math.min(limit, maxPage)]);
  const head = rows[0]?.head ?? 0;
  const batches = rows.filter(isBatch);
  const first = batches[0] === undefined ? head + 1 : firstOf(batches[0]);
  if (after > head) return { kind: "gap", reason: "unknown", head };
  if (first > after + 1) return { kind: "gap", reason: "expired", head };
  const stored = unbroken(batches)
    .flatMap(unpack)
    .filter(({ position }) => position > after);
  const wanted = stored.slice(0, limit);
  return {
    kind: "events",
    events: await hydrate(db, workspaceId, wanted),
    last: wanted.at(-1)?.position ?? after,
    head,
  };
}

/** The position of the newest event; 0 before the first. */
export async function readHead(db: Db, workspaceId: string): Promise<number> {
  const row = await one<{ head: number }>(
    db,
    "SELECT coalesce((SELECT last_position FROM event_heads WHERE workspace_id = $1), 0) AS head",
    [workspaceId],
  );
  return row.head;
}

/** The same of several feeds; those without an event are missing. */
export async function readHeads(db: Db, workspaceIds: readonly string[]): Promise<Map<string, number>> {
  const rows = await all<{ workspace_id: string; last_position: number }>(
    db,
    "SELECT workspace_id, last_position FROM event_heads WHERE workspace_id = ANY ($1)",
    [workspaceIds],
  );
  return new Map(rows.map((row) => [row.workspace_id, row.last_position]));
}

/** The position before the oldest event that is kept. */
export async function readOldest(db: Db, workspaceId: string): Promise<number> {
  const row = await maybe<{ position: number }>(
    db,
    `SELECT last_position - event_count AS position FROM events WHERE workspace_id = $1 ORDER BY last_position LIMIT 1`,
    [workspaceId],
  );
  return row?.position ?? readHead(db, workspaceId);
}

/** The position before the first event at or after a time: a reader that goes on from there gets all since. */
export async function positionAt(db: Db, workspaceId: string, at: Date): Promise<number> {
  const row = await one<{ position: number | null }>(
    db,
    "SELECT min(last_position - event_count) AS position FROM events WHERE workspace_id = $1 AND created_at >= $2",
    [workspaceId, at],
  );
  return row.position ?? readHead(db, workspaceId);
}

/** Throws VALIDATION_ERROR for what was never given out as a cursor. */
export function parseCursor(cursor: string): number {
  if (!/^\d{1,15}$/.test(cursor)) {
    throw invalid("This is no cursor of the feed: take one from HELLO, an event or GET /v1/events.", {
      field: "cursor",
    });
  }
  return Number(cursor);
}

export function toCursor(position: number): string {
  return String(position);
}

/** Batches that one statement clears away: it holds no lock for long. */
const clearBatch = 5_000;

/** Clears events away that are older than `retentionMs`. Readers that stood before them are told of a gap. */
export async function deleteOldEvents(db: Db, now: Date, retentionMs: number): Promise<number> {
  const before = new Date(now.getTime() - retentionMs);
  for (let cleared = 0; ; ) {
    const count = await run(
      db,
      `DELETE FROM events WHERE ctid = ANY (ARRAY(
         SELECT ctid FROM events WHERE created_at < $1 ORDER BY workspace_id, last_position LIMIT $2))`,
      [before, clearBatch],
    );
    cleared += count;
    if (count < clearBatch) return cleared;
  }
}

interface BatchRow {
  head: number;
  last_position: number | null;
  event_count: number;
  events: string;
  created_at: Date;
}

/** Each batch holds one event at least, so `limit` of them are enough; the text of those beyond is not even read. */
const statement = `
SELECT h.last_position AS head, b.last_position, b.event_count, b.events, b.created_at
FROM event_heads h LEFT JOIN LATERAL (
  SELECT * FROM (
    SELECT e.last_position, e.event_count, e.events, e.created_at FROM events e
    WHERE e.workspace_id = h.workspace_id AND e.last_position > $2 ORDER BY e.last_position LIMIT $3
  ) next WHERE next.last_position - next.event_count < $2::bigint + $3
) b ON true
WHERE h.workspace_id = $1 ORDER BY b.last_position`;

/** A feed at whose end the reader stands gives one row without a batch. */
function isBatch(row: BatchRow): row is BatchRow & { last_position: number } {
  return row.last_position !== null;
}

function firstOf({ last_position, event_count }: BatchRow & { last_position: number }): number {
  return last_position - event_count + 1;
}

/**
 * Up to the first hole, from behind which the next read tells of a gap: where the database's time was set back, newer
 * events are cleared away before older ones.
 */
function unbroken<Batch extends BatchRow & { last_position: number }>(batches: readonly Batch[]): readonly Batch[] {
  const hole = batches.findIndex(
    (batch, index) => index > 0 && firstOf(batch) !== batches[index - 1]!.last_position + 1,
  );
  return hole === -1 ? batches : batches.slice(0, hole);
}

function unpack(batch: BatchRow & { last_position: number }): { position: number; at: Date; event: Stored }[] {
  const { last_position, event_count, created_at } = batch;
  const events = JSON.parse(batch.events) as Stored[];
  return events.map((event, index) => ({ position: last_position - event_count + 1 + index, at: created_at, event }));
}
