import { type EventNotifier, readHeads } from "../events/events.ts";
import type { Clock } from "../lib/clock.ts";
import { openLoopShare } from "../lib/loop-share.ts";
import type { Log } from "../lib/postgres.ts";
import type { Db } from "../lib/query.ts";
import { type Repeated, repeat } from "../lib/repeat.ts";
import { FeedCache } from "./feed-cache.ts";
import { LiveFeed, type LiveFeedDeps } from "./live-feed.ts";

interface LiveFeedsDeps extends Pick<LiveFeedDeps, "onTaken"> {
  db: Db;
  eventNotifier: EventNotifier;
  clock: Clock;
  log: Log;
}

/** How long a feed without clients stays open for those that reconnect, in milliseconds. */
const keepEmptyMs = 30_000;
/** How often all feeds are polled with one query, because notifications can be lost; in milliseconds. */
const pollEveryMs = 1_000;
/** How much of each turn of the event loop goes to clients that catch up, in milliseconds. */
const catchUpShareMs = 5;

/** The feeds of the workspaces that have clients in this process. */
export class LiveFeeds {
  readonly #deps: LiveFeedDeps;
  readonly #opening = new Map<string, Promise<LiveFeed>>();
  readonly #feeds = new Map<string, LiveFeed>();
  readonly #unsubscribe: () => void;
  readonly #polling: Repeated;

  constructor({ db, eventNotifier, clock, log, onTaken }: LiveFeedsDeps) {
    const loopShare = openLoopShare(clock, catchUpShareMs);
    this.#deps = { db, clock, log, onTaken, loopShare, cache: new FeedCache(db, clock) };
    this.#unsubscribe = eventNotifier.subscribe((workspaceId) => {
      if (workspaceId !== null) this.#feeds.get(workspaceId)?.wake();
      else for (const feed of this.#feeds.values()) feed.wake();
    });
    this.#polling = repeat(
      clock,
      pollEveryMs,
      () => this.#poll(),
      (error) => log.warn({ err: error }, "new events could not be read; the read is retried"),
    );
  }

  /** Opens it when it is not open. Rejects when it cannot be read. Join it in the same turn, or it may close. */
  open(workspaceId: string): Promise<LiveFeed> {
    const known = this.#opening.get(workspaceId);
    if (known !== undefined) return known;
    const opening = this.#open(workspaceId).catch((error) => {
      this.#opening.delete(workspaceId);
      throw error;
    });
    this.#opening.set(workspaceId, opening);
    return opening;
  }

  peek(workspaceId: string): LiveFeed | undefined {
    return this.#feeds.get(workspaceId);
  }

  closeLater(feed: LiveFeed): void {
    if (feed.size() === 0) this.#deps.clock.after(keepEmptyMs, () => this.#closeIfEmpty(feed.workspaceId));
  }

  async close(): Promise<void> {
    this.#unsubscribe();
    await this.#polling.close();
    await Promise.all([...this.#feeds.values()].map((feed) => feed.close()));
    this.#feeds.clear();
  }

  async #open(workspaceId: string): Promise<LiveFeed> {
    const head = (await readHeads(this.#deps.db, [workspaceId])).get(workspaceId) ?? { position: 0, mark: null };
    const feed = new LiveFeed(workspaceId, head, this.#deps);
    this.#feeds.set(workspaceId, feed);
    feed.wake();
    return feed;
  }

  #closeIfEmpty(workspaceId: string): void {
    const feed = this.#feeds.get(workspaceId);
    if (feed?.size() !== 0) return;
    void feed.close();
    this.#feeds.delete(workspaceId);
    this.#opening.delete(workspaceId);
  }

  async #poll(): Promise<void> {
    if (this.#feeds.size === 0) return;
    for (const [workspaceId, head] of await readHeads(this.#deps.db, [...this.#feeds.keys()])) {
      const feed = this.#feeds.get(workspaceId);
      if (feed?.head.position !== head.position || feed.head.mark !== head.mark) feed?.wake();
    }
  }
}
