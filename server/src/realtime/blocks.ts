import { setImmediate } from "node:timers/promises";
import {
  type Cursor,
  checkCursors,
  type FeedEvent,
  type FeedPage,
  type GapReason,
  readFeed,
  readOldest,
  toCursor,
} from "../events/events.ts";
import { openBatcher } from "../lib/batcher.ts";
import type { Clock } from "../lib/clock.ts";
import type { Db } from "../lib/query.ts";
import { type Frame, frameOf } from "./frames.ts";

/** An event of the feed, ready to be sent to whoever may see it. */
export interface TailedEvent {
  event: FeedEvent;
  frame: Frame;
  /** See `FeedEvent`; the same object as `frame` where members get the same. */
  memberFrame: Frame;
  /** See `FeedEvent`; the same object as `frame` where no member has left. */
  partingFrame: Frame;
}

export type TailedPage =
  /** `events` takes a moment, so a crowd of readers calls it by turns. */
  { kind: "events"; events: () => TailedEvent[]; cursor: Cursor } | Pick<FeedPage & { kind: "gap" }, "kind" | "reason">;

/** All events after `from` and up to `last` that are there. */
interface Block {
  from: number;
  last: number;
  /** Whether it ends there because of its size. */
  isFull: boolean;
  events: TailedEvent[];
  /** Of the text, in characters. */
  length: number;
}

function toTailed(event: FeedEvent): TailedEvent {
  const toFrame = ({ type, ...fields }: FeedEvent["frame"]) => frameOf(type, toCursor(event), fields);
  const frame = toFrame(event.frame);
  let member: Frame | undefined;
  let parting: Frame | undefined;
  const orSame = (other: FeedEvent["frame"] | null) => (other === null ? frame : toFrame(other));
  return {
    event,
    frame,
    // Made for the first reader that needs it, because mostly no reader does.
    get memberFrame() {
      member ??= orSame(event.memberFrame);
      return member;
    },
    get partingFrame() {
      parting ??= orSame(event.partingFrame);
      return parting;
    },
  };
}

/** Most frame bytes encoded in one turn of the event loop. */
const textAtOnceBytes = 256 * 1024;

/** As `toTailed` for many events, spread over turns of the event loop. */
export async function toAllTailed(events: readonly FeedEvent[]): Promise<TailedEvent[]> {
  const tailed: TailedEvent[] = [];
  let size = 0;
  for (const event of events) {
    if (size > textAtOnceBytes) {
      await setImmediate();
      size = 0;
    }
    const one = toTailed(event);
    size += one.frame.size;
    tailed.push(one);
  }
  return tailed;
}

/** Positions to a block. */
export const blockSize = 500;
/** When a block of this many positions would be too long, its rest is in blocks of fewer, down to one. */
const blockSizes = [blockSize, 25, 1];
/** A block with more text than this ends before its last position, in characters. */
const maxBlockLength = 4 * 1024 * 1024;
/** Text that is kept in memory for those who come back, of all workspaces together, in characters. */
const maxCachedLength = 32 * 1024 * 1024;
/** Most cursors that wait to be checked. */
const maxWaiting = 1_000_000;
/** Most cursors that one statement checks. */
const maxChecked = 5_000;

/**
 * The past of feeds, read in blocks that all who resume share: ten thousand clients that come back at once cost as many
 * queries as there are blocks between the oldest of their cursors and now.
 */
export function openBlocks(db: Db, clock: Clock) {
  /** Least recently used first. The newest block of a feed is kept as far as it was read. */
  const kept = new Map<string, Block>();
  const loading = new Map<string, Promise<Block>>();
  let keptLength = 0;
  const checks = openBatcher({
    maxBatch: maxChecked,
    maxWaiting,
    clock,
    run: (asked: readonly { workspaceId: string; cursor: Cursor }[]) => checkCursors(db, asked),
  });

  /** What is asked for while it is being read is read once. `until` tells apart what a growing block held when. */
  function load(workspaceId: string, start: number, size: number, until: number): Promise<Block> {
    const key = `${workspaceId}/${start}/${size}/${until}`;
    const known = loading.get(key);
    if (known !== undefined) return known;
    const promise = loadBlock(db, workspaceId, start, start + size)
      .then((block) => {
        keep(`${workspaceId}/${start}/${size}`, block);
        return block;
      })
      .finally(() => loading.delete(key));
    loading.set(key, promise);
    return promise;
  }

  function keep(key: string, block: Block): void {
    const before = kept.get(key);
    if (before !== undefined && before.last > block.last) return;
    kept.delete(key);
    kept.set(key, block);
    keptLength += block.length - (before?.length ?? 0);
    for (const [oldest, { length }] of kept) {
      if (keptLength <= maxCachedLength) break;
      kept.delete(oldest);
      keptLength -= length;
    }
  }

  /** The largest block that reaches beyond `after`. */
  async function find(workspaceId: string, after: number, until: number): Promise<{ block: Block; wanted: number }> {
    for (const size of blockSizes) {
      const start = after - (after % size);
      const wanted = Math.min(until, start + size);
      const key = `${workspaceId}/${start}/${size}`;
      const hit = kept.get(key);
      if (hit !== undefined) {
        kept.delete(key);
        kept.set(key, hit);
      }
      // The present part of the newest block is enough to continue.
      const isEnough = hit !== undefined && (hit.last > after || hit.isFull);
      const block = isEnough ? hit : await load(workspaceId, start, size, wanted);
      if (block.last > after || !block.isFull) return { block, wanted };
    }
    throw new Error("a block of one position cannot be full before it");
  }

  return {
    /**
     * Why a reader cannot resume from a cursor, by the database and not by cached blocks; null when it can. One query
     * answers all calls that wait.
     */
    check: (workspaceId: string, cursor: Cursor): Promise<GapReason | null> =>
      checks.submitOne({ workspaceId, cursor }),

    /** Drops the cached blocks of a workspace whose feed was replaced by a restored backup. */
    forget(workspaceId: string): void {
      for (const [key, { length }] of kept) {
        if (!key.startsWith(`${workspaceId}/`)) continue;
        kept.delete(key);
        keptLength -= length;
      }
    },

    /** Events after `after` and up to `until`, some of them at least. `until` is known to be there. */
    async read(workspaceId: string, after: number, until: number): Promise<TailedPage> {
      const { block, wanted } = await find(workspaceId, after, until);
      const end = Math.min(block.last, wanted);
      if (block.from > after || end <= after) return { kind: "gap", reason: "expired" };
      const events = () => block.events.filter(({ event: { position } }) => position > after && position <= until);
      const last = block.events.findLast(({ event: { position } }) => position <= end)?.event;
      return { kind: "events", events, cursor: { position: end, mark: last?.position === end ? last.mark : null } };
    },
  };
}

export type Blocks = ReturnType<typeof openBlocks>;

/** A block whose first events were cleared away begins where there are some. */
async function loadBlock(db: Db, workspaceId: string, start: number, end: number): Promise<Block> {
  for (let from = start; from < end; ) {
    const page = await readFeed(db, workspaceId, from, end - from);
    if (page.kind === "events") return fillBlock(db, workspaceId, { from, end }, page);
    // Never back: what is cleared away meanwhile moves it on.
    from = Math.max(from + 1, await readOldest(db, workspaceId));
  }
  return { from: end, last: end, isFull: false, events: [], length: 0 };
}

/** Reads a block in several pages, because a page of long events has fewer. */
async function fillBlock(
  db: Db,
  workspaceId: string,
  { from, end }: { from: number; end: number },
  first: FeedPage & { kind: "events" },
): Promise<Block> {
  const block: Block = { from, last: from, isFull: false, events: [], length: 0 };
  for (let page: FeedPage = first; page.kind === "events"; ) {
    const events = await toAllTailed(page.events);
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
