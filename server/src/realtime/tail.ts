import { type Cursor, type EventNotifier, type GapReason, readFeed, readHeads } from "../events/events.ts";
import type { Clock } from "../lib/clock.ts";
import type { Log } from "../lib/postgres.ts";
import type { Db } from "../lib/query.ts";
import { repeat } from "../lib/repeat.ts";
import { type TailedEvent, toAllTailed } from "./blocks.ts";

export interface TailListener {
  /** Events in order, each once. The next come when the promise is settled. */
  onEvents(events: readonly TailedEvent[], last: Cursor): Promise<void>;
  /** The feed cannot be followed without a hole: go on from `head`. */
  onGap(reason: GapReason, head: Cursor): void;
}

export interface Tails {
  /** Follows a workspace's feed from its present head, which it returns; a second follower of a workspace is an error. */
  follow(workspaceId: string, listener: TailListener): Promise<Cursor>;
  unfollow(workspaceId: string): void;
  close(): Promise<void>;
}

interface Followed {
  listener: TailListener;
  last: Cursor;
  isReading: boolean;
  isNotified: boolean;
}

/** Events to a read. */
const pageSize = 500;
/** How often feeds are polled, in milliseconds: one query for all workspaces. */
const lookEveryMs = 1_000;

/** The newest events of the workspaces that somebody listens to, read once for all who do. */
export function openTails(deps: { db: Db; eventNotifier: EventNotifier; clock: Clock; log: Log }): Tails {
  const { db, eventNotifier, clock, log } = deps;
  const followed = new Map<string, Followed>();

  const unsubscribe = eventNotifier.subscribe((workspaceId) => {
    if (workspaceId === null) for (const id of followed.keys()) wake(id);
    else wake(workspaceId);
  });
  const looking = repeat(clock, lookEveryMs, look, (error) => {
    log.warn({ err: error }, "the feeds could not be read; the read is repeated");
  });

  /** Notifications can be lost: a feed that has fallen behind is found here. */
  async function look(): Promise<void> {
    if (followed.size === 0) return;
    for (const [workspaceId, head] of await readHeads(db, [...followed.keys()])) {
      const last = followed.get(workspaceId)?.last;
      if (last?.position !== head.position || last.mark !== head.mark) wake(workspaceId);
    }
  }

  function wake(workspaceId: string): void {
    const feed = followed.get(workspaceId);
    if (feed === undefined) return;
    feed.isNotified = true;
    if (!feed.isReading) void readOn(workspaceId, feed);
  }

  /** One at a time for each feed. What cannot be read now is read at the next look. */
  async function readOn(workspaceId: string, feed: Followed): Promise<void> {
    feed.isReading = true;
    try {
      while (feed.isNotified && followed.get(workspaceId) === feed) {
        feed.isNotified = false;
        const page = await readFeed(db, workspaceId, feed.last, pageSize);
        if (followed.get(workspaceId) !== feed) return;
        if (page.kind === "gap") {
          feed.last = page.cursor;
          feed.listener.onGap(page.reason, page.cursor);
        } else if (page.last > feed.last.position) {
          await feed.listener.onEvents(await toAllTailed(page.events), page.cursor);
          feed.last = page.cursor;
          feed.isNotified ||= page.last < page.head;
        }
      }
    } catch (error) {
      log.warn({ err: error, workspace_id: workspaceId }, "a feed could not be read and will be tried again");
    } finally {
      feed.isReading = false;
    }
  }

  return {
    async follow(workspaceId, listener) {
      const head = (await readHeads(db, [workspaceId])).get(workspaceId) ?? { position: 0, mark: null };
      followed.set(workspaceId, { listener, last: head, isReading: false, isNotified: false });
      // Something may have been told between the look at the head and now.
      wake(workspaceId);
      return head;
    },
    unfollow: (workspaceId) => void followed.delete(workspaceId),
    async close() {
      unsubscribe();
      followed.clear();
      await looking.close();
    },
  };
}
