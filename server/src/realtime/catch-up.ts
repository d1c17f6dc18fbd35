import { seesAllConversations } from "../credentials/credentials.ts";
import {
  type Cursor,
  type GapReason,
  type Memberships,
  type MembersOf,
  toCursor,
  visibleFrame,
} from "../events/events.ts";
import { type Clock, pause } from "../lib/clock.ts";
import { isRecordFault } from "../lib/faults.ts";
import type { LoopShare } from "../lib/loop-share.ts";
import type { Client } from "./client.ts";
import type { FeedCache, FramedPage } from "./feed-cache.ts";
import { type Frame, type FramedEvent, frameOf } from "./frames.ts";
import { lowWaterBytes } from "./outlet.ts";

export interface CatchUpDeps {
  cache: FeedCache;
  clock: Clock;
  loopShare: LoopShare;
  /** A socket of this user has received a delivery that waited in the user's app. */
  onTaken: (deliveryId: string, userId: string) => void;
}

export type OnLive = (count: number) => void;

/** How long a client that is ahead of this process waits before the feed is read again, in milliseconds. */
const arrivalPauseMs = 20;
const retryPauseMs = 500;

/** Sends past events to the clients of one feed, no faster than they read, until they are where the feed is. */
export class CatchUp {
  readonly #feed: { readonly workspaceId: string; readonly head: Cursor };
  readonly #memberships: Memberships;
  readonly #deps: CatchUpDeps;

  constructor(
    feed: { readonly workspaceId: string; readonly head: Cursor },
    memberships: Memberships,
    deps: CatchUpDeps,
  ) {
    this.#feed = feed;
    this.#memberships = memberships;
    this.#deps = deps;
  }

  /** See `LiveFeed.catchUp`. Only a position that is no cursor, or one of the feed itself, need not be checked. */
  async run(client: Client, from: Cursor, isChecked: boolean, onLive?: OnLive): Promise<number | null> {
    if (client.state === "closed") return null;
    client.resumes += 1;
    client.state = "catching-up";
    client.at = from;
    const { resumes } = client;
    if (!isChecked) {
      const checked = await this.#patiently(client, resumes, async () => ({
        gap: await this.#deps.cache.check(this.#feed.workspaceId, from),
      }));
      if (checked === null) return null;
      if (checked.gap !== null) this.#skip(client, checked.gap);
    }
    return this.#readOn(client, resumes, onLive);
  }

  async #readOn(client: Client, resumes: number, onLive?: OnLive): Promise<number | null> {
    let count = 0;
    while (client.at.position !== this.#feed.head.position) {
      const page = await this.#patiently(client, resumes, () => this.#pageAfter(client.at.position));
      if (page === null) return null;
      if (page.kind === "gap") {
        this.#skip(client, page.reason);
        continue;
      }
      const sent = await this.#sendPage(client, resumes, page);
      if (sent === null) return null;
      count += sent;
      client.at = page.cursor;
    }
    if (!isCurrent(client, resumes)) return null;
    client.state = "live";
    onLive?.(count);
    return count;
  }

  async #sendPage(client: Client, resumes: number, page: FramedPage & { kind: "events" }): Promise<number | null> {
    const { loopShare, clock } = this.#deps;
    let count = 0;
    for (let rest = await loopShare.run(page.events); rest.length > 0; ) {
      await client.outlet.drained();
      const { principal } = client;
      const wanted = seesAllConversations(principal) ? [] : conversationsOf(rest);
      const membersOf = await this.#patiently(client, resumes, () => this.#memberships.load(wanted));
      if (membersOf === null) return null;
      const isUnchanged = () => isCurrent(client, resumes) && client.principal === principal;
      const sent = await loopShare.run(() => (isUnchanged() ? this.#sendSome(client, rest, membersOf) : null));
      if (sent === null) continue;
      count += sent.count;
      // It has disconnected, and that is not known here yet.
      if (sent.passed === 0) await pause(clock, arrivalPauseMs);
      rest = rest.slice(sent.passed);
    }
    return isCurrent(client, resumes) ? count : null;
  }

  /** Sends events until the client's buffer fills, which is far below the size at which it is disconnected. */
  #sendSome(client: Client, events: readonly FramedEvent[], membersOf: MembersOf) {
    const { outlet } = client;
    let [count, passed, size] = [0, 0, 0];
    outlet.cork();
    for (const framed of events) {
      if (Math.max(size, outlet.bufferedBytes()) > lowWaterBytes) break;
      passed += 1;
      client.at = framed.event;
      const visible = visibleFrame(client.principal, framed.event, membersOf);
      if (visible === null) continue;
      const frame = framed[visible];
      sendEvent(client, framed, frame, this.#deps.onTaken);
      size += frame.size;
      count += 1;
    }
    outlet.uncork();
    return { count, passed };
  }

  async #pageAfter(after: number): Promise<FramedPage> {
    const { head, workspaceId } = this.#feed;
    if (after <= head.position) return this.#deps.cache.read(workspaceId, after, head.position);
    // Another process has sent it events that have not arrived here yet.
    await pause(this.#deps.clock, arrivalPauseMs);
    return { kind: "events", events: () => [], cursor: { position: after, mark: null } };
  }

  #skip(client: Client, reason: GapReason): void {
    client.send(gapFrame(reason, this.#feed.head));
    client.at = this.#feed.head;
  }

  /** Retries while the database does not respond. Null once the client is closed or was resumed again. */
  async #patiently<Found>(client: Client, resumes: number, read: () => Promise<Found>): Promise<Found | null> {
    while (isCurrent(client, resumes)) {
      try {
        const found = await read();
        return isCurrent(client, resumes) ? found : null;
      } catch (error) {
        if (isRecordFault(error)) throw error;
      }
      await pause(this.#deps.clock, retryPauseMs);
    }
    return null;
  }
}

function isCurrent(client: Client, resumes: number): boolean {
  return client.resumes === resumes && client.state === "catching-up";
}

export function sendEvent(
  client: Client,
  { event: { awaits } }: FramedEvent,
  frame: Frame,
  onTaken: CatchUpDeps["onTaken"],
): void {
  const isTheirs = awaits !== null && client.readsAs(awaits.recipientId);
  const { userId } = client.principal;
  client.send(frame, isTheirs ? () => onTaken(awaits.deliveryId, userId) : undefined);
}

export function conversationsOf(events: readonly FramedEvent[]): string[] {
  return events.flatMap(({ event }) => event.conversationId ?? []);
}

/** Events that the client missed cannot be sent: it reads the state over HTTP, and continues from this cursor. */
export function gapFrame(reason: GapReason, head: Cursor): Frame {
  return frameOf("GAP", toCursor(head), { reason });
}
