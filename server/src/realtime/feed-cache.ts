import { type Cursor, checkCursors, type FeedPage, type GapReason, readFeed, readOldest } from "../events/events.ts";
import { openBatcher } from "../lib/batcher.ts";
import type { Clock } from "../lib/clock.ts";
import type { Db } from "../lib/query.ts";
import { type FramedEvent, framesOf } from "./frames.ts";

export type FramedPage =
  /** `events` filters a whole block, so callers spread their calls over turns of the event loop. */
  { kind: "events"; events: () => FramedEvent[]; cursor: Cursor } | Pick<FeedPage & { kind: "gap" }, "kind" | "reason">;

interface Block {
  from: number;
  last: number;
  isFull: boolean;
  events: FramedEvent[];
  length: number;
}

export const blockSize = 500;
/** Where a block of this many positions would be too long, its rest is in blocks of fewer, down to one. */
const blockSizes = [blockSize, 25, 1];
/** A block with more text than this ends before its last position, in characters. */
const maxBlockLength = 4 * 1024 * 1024;
/** Most text in the cache, of all workspaces together, in characters. */
const maxCachedLength = 32 * 1024 * 1024;
/** Most cursors that wait to be checked, and that one statement checks. */
const maxWaiting = 1_000_000;
const maxChecked = 5_000;

/** Past events in blocks, so that ten thousand clients that resume at once cost no more queries than one does. */
export class FeedCache {
  readonly #db: Db;
  readonly #cached = new Map<string, Block>();
  readonly #loading = new Map<string, Promise<Block>>();
  #cachedLength = 0;
  readonly #checks;

  constructor(db: Db, clock: Clock) {
    this.#db = db;
    this.#checks = openBatcher({
      maxBatch: maxChecked,
      maxWaiting,
      clock,
      run: (asked: readonly { workspaceId: string; cursor: Cursor }[]) => checkCursors(db, asked),
    });
  }

  /** Why a client cannot resume from a cursor, by the database; null when it can. Waiting calls share a query. */
  check(workspaceId: string, cursor: Cursor): Promise<GapReason | null> {
    return this.#checks.submitOne({ workspaceId, cursor });
  }

  /** Removes the blocks of a workspace whose feed was replaced by a restored backup. */
  forget(workspaceId: string): void {
    for (const key of this.#cached.keys()) if (key.startsWith(`${workspaceId}/`)) this.#remove(key);
  }

  /** At least one event after `after` and up to `until`, which is the position of an event or before one. */
  async read(workspaceId: string, after: number, until: number): Promise<FramedPage> {
    const { block, wanted } = await this.#find(workspaceId, after, until);
    const end = Math.min(block.last, wanted);
    if (block.from > after || end <= after) return { kind: "gap", reason: "expired" };
    const events = () => block.events.filter(({ event: { position } }) => position > after && position <= until);
    const last = block.events.findLast(({ event: { position } }) => position <= end)?.event;
    return { kind: "events", events, cursor: { position: end, mark: last?.position === end ? last.mark : null } };
  }

  async #find(workspaceId: string, after: number, until: number): Promise<{ block: Block; wanted: number }> {
    for (const size of blockSizes) {
      const start = after - (after % size);
      const wanted = Math.min(until, start + size);
      const key = `${workspaceId}/${start}/${size}`;
      const hit = this.#cached.get(key);
      if (hit !== undefined) {
        this.#cached.delete(key);
        this.#cached.set(key, hit);
      }
      const isEnough = hit !== undefined && (hit.last > after || hit.isFull);
      const block = isEnough ? hit : await this.#load(workspaceId, start, size, wanted);
      if (block.last > after || !block.isFull) return { block, wanted };
    }
    throw new Error("a block of one position cannot be full before it");
  }

  /** Equal calls share one read. `until` distinguishes reads of the newest block, which grows. */
  #load(workspaceId: string, start: number, size: number, until: number): Promise<Block> {
    const key = `${workspaceId}/${start}/${size}/${until}`;
    const loading = this.#loading.get(key);
    if (loading !== undefined) return loading;
    const promise = loadBlock(this.#db, workspaceId, start, start + size)
      .then((block) => {
        this.#keep(`${workspaceId}/${start}/${size}`, block);
        return block;
      })
      .finally(() => this.#loading.delete(key));
    this.#loading.set(key, promise);
    return promise;
  }

  #keep(key: string, block: Block): void {
    if ((this.#cached.get(key)?.last ?? 0) > block.last) return;
    this.#remove(key);
    this.#cached.set(key, block);
    this.#cachedLength += block.length;
    for (const oldest of this.#cached.keys()) {
      if (this.#cachedLength <= maxCachedLength) break;
      this.#remove(oldest);
    }
  }

  #remove(key: string): void {
    this.#cachedLength -= this.#cached.get(key)?.length ?? 0;
    this.#cached.delete(key);
  }
}

async function loadBlock(db: Db, workspaceId: string, start: number, end: number): Promise<Block> {
  for (let from = start; from < end; ) {
    const page = await readFeed(db, workspaceId, from, end - from);
    if (page.kind === "events") return fillBlock(db, workspaceId, { from, end }, page);
    // Always forward: events that are deleted meanwhile only move it on.
    from = Math.max(from + 1, await readOldest(db, workspaceId));
  }
  return { from: end, last: end, isFull: false, events: [], length: 0 };
}

async function fillBlock(
  db: Db,
  workspaceId: string,
  { from, end }: { from: number; end: number },
  first: FeedPage & { kind: "events" },
): Promise<Block> {
  const block: Block = { from, last: from, isFull: false, events: [], length: 0 };
  for (let page: FeedPage = first; page.kind === "events"; ) {
    const events = await framesOf(page.events);
    block.events.push(...events);
    block.length += events.reduce((sum, { frame }) => sum + frame.text.length, 0);
    block.last = page.last;
    if (page.last >= Math.min(end, page.head)) break;
    block.isFull = block.length > maxBlockLength;
    if (block.isFull) break;
    page = await readFeed(db, workspaceId, page.last, end - page.last);
  }
  return block;
}
