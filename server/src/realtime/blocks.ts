import { type FeedEvent, type FeedPage, readFeed, readHead, toCursor } from "../events/events.ts";
import type { Db } from "../lib/query.ts";
import { type Frame, frameOf } from "./frames.ts";

/** An event of the feed, ready to be sent to whoever may see it. */
export interface TailedEvent {
  event: FeedEvent;
  frame: Frame;
}

export type TailedPage = { kind: "events"; events: TailedEvent[]; last: number } | (FeedPage & { kind: "gap" });

export function toTailed(event: FeedEvent): TailedEvent {
  const { type, ...fields } = event.frame;
  return { event, frame: frameOf(type, toCursor(event.position), fields) };
}

/** Positions to a block. */
export const blockSize = 500;
/** Text that is kept in memory for those who come back, of all workspaces together, in characters. */
const maxCachedLength = 32 * 1024 * 1024;

/**
 * The past of feeds, read in blocks that all who resume share: ten thousand clients that come back at once cost as many
 * queries as there are blocks between the oldest of their cursors and now.
 */
export function openBlocks(db: Db) {
  /** Complete blocks, least recently used first. */
  const kept = new Map<string, { page: TailedPage & { kind: "events" }; length: number }>();
  const loading = new Map<string, Promise<TailedPage>>();
  let keptLength = 0;

  async function load(workspaceId: string, after: number): Promise<TailedPage> {
    const page = await readFeed(db, workspaceId, after, blockSize);
    if (page.kind === "gap") return page;
    return { kind: "events", events: page.events.map(toTailed), last: page.last };
  }

  /** What is asked for while it is being read is read once. `until` tells apart what a growing block held when. */
  function loadShared(workspaceId: string, start: number, until: number): Promise<TailedPage> {
    const key = `${workspaceId}/${start}/${until}`;
    const known = loading.get(key);
    if (known !== undefined) return known;
    const promise = load(workspaceId, start).finally(() => loading.delete(key));
    loading.set(key, promise);
    return promise;
  }

  function keep(key: string, page: TailedPage & { kind: "events" }): void {
    const length = page.events.reduce((sum, { frame }) => sum + frame.text.length, 0);
    kept.set(key, { page, length });
    keptLength += length;
    for (const [oldest, block] of kept) {
      if (keptLength <= maxCachedLength) break;
      kept.delete(oldest);
      keptLength -= block.length;
    }
  }

  return {
    head: (workspaceId: string): Promise<number> => readHead(db, workspaceId),

    /** Events after `after` and up to `until`, some of them at least. `until` is known to be there. */
    async read(workspaceId: string, after: number, until: number): Promise<TailedPage> {
      const start = after - (after % blockSize);
      const key = `${workspaceId}/${start}`;
      const hit = kept.get(key);
      if (hit !== undefined) {
        kept.delete(key);
        kept.set(key, hit);
      }
      const block = hit?.page ?? (await loadShared(workspaceId, start, Math.min(until, start + blockSize)));
      // The block may begin before what is still there, and the reader not.
      if (block.kind === "gap") return cut(start === after ? block : await load(workspaceId, after), after, until);
      if (block.last === start + blockSize && !kept.has(key)) keep(key, block);
      return cut(block, after, until);
    },
  };
}

export type Blocks = ReturnType<typeof openBlocks>;

function cut(page: TailedPage, after: number, until: number): TailedPage {
  if (page.kind === "gap") return page;
  const events = page.events.filter(({ event: { position } }) => position > after && position <= until);
  return { kind: "events", events, last: Math.min(page.last, until) };
}
