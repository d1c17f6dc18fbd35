import { setImmediate } from "node:timers/promises";
import { seesAllConversations } from "../credentials/credentials.ts";
import {
  type Cursor,
  type FeedEvent,
  type GapReason,
  Memberships,
  type MembersOf,
  toCursor,
  visibleFrame,
} from "../events/events.ts";
import { type Clock, pause } from "../lib/clock.ts";
import { isRecordFault } from "../lib/faults.ts";
import type { LoopShare } from "../lib/loop-share.ts";
import type { Db } from "../lib/query.ts";
import type { Blocks, TailedEvent, TailedPage } from "./blocks.ts";
import { type Frame, frameOf } from "./frames.ts";
import { openSeats } from "./seats.ts";
import { lowWaterBytes, readsFor, type Subscriber, send } from "./subscriber.ts";
import type { TailListener } from "./tail.ts";

export interface RoomDeps {
  db: Db;
  blocks: Blocks;
  clock: Clock;
  /** The past that all readers of this process resume from. */
  replays: LoopShare;
  /** A delivery in somebody's app was taken by a socket of theirs: of this user. */
  onTaken: (deliveryId: string, userId: string) => void;
}

/** Who is told of something that is not in the feed. */
export interface Audience {
  /** Whether all are told who see all conversations. */
  isForOverseers: boolean;
  /** The others who are. */
  participantIds: readonly string[];
}

/** The readers of one workspace in this process. All live ones stand at the same position of its feed. */
export interface Room extends TailListener {
  readonly workspaceId: string;
  size(): number;
  /** The participants, other than those who see all, who have readers here. */
  memberIds(): string[];
  /** Where the live ones stand. */
  position(): number;
  /** The same position as a cursor for clients. */
  cursor(): string;
  /** A new reader, held where the room stands. */
  join(subscriber: Subscriber): void;
  leave(subscriber: Subscriber): void;
  /** After a change of the reader's role. */
  reseat(subscriber: Subscriber): void;
  /** As of the last event that the live ones were told. */
  membersOf(conversationIds: readonly string[]): Promise<MembersOf>;
  /**
   * Sends the events that the reader may see after a cursor, once and in order, no faster than it reads; a gap comes
   * first when the feed no longer has all of them. Then the reader goes live: before the first live event, `onLive` is
   * called with the number of events sent. Resolves with that number, or null when the reader was closed or resumed
   * again meanwhile. Waits while the database does not answer.
   */
  catchUp(subscriber: Subscriber, after: Cursor | number, onLive?: OnLive): Promise<number | null>;
  /** As `catchUp` for a held reader, from its position. */
  goLive(subscriber: Subscriber, onLive?: OnLive): Promise<number | null>;
  /** To every live reader among these: what is not in the feed. */
  tell(audience: Audience, frame: Frame, except: (subscriber: Subscriber) => boolean): void;
}

type OnLive = (count: number) => void;

/** How long a reader who is ahead of this process waits before it looks again, in milliseconds. */
const arrivalPauseMs = 20;
/** How long a reader waits before what could not be read is read again, in milliseconds. */
const retryPauseMs = 500;
const nobody: MembersOf = () => [];

export function openRoom(workspaceId: string, start: Cursor, deps: RoomDeps): Room {
  const { db, blocks, clock, replays, onTaken } = deps;
  const memberships = new Memberships(db);
  const seats = openSeats();
  let head = start;

  async function loadMembers(events: readonly TailedEvent[]): Promise<MembersOf> {
    for (const { event } of events) {
      if (event.frame.type === "CONVERSATION" && event.conversationId !== null)
        memberships.forget(event.conversationId);
    }
    return !seats.hasMembers() ? nobody : memberships.load(conversationsOf(events));
  }

  function deliver(subscriber: Subscriber, { awaits }: FeedEvent, frame: Frame): void {
    const { principal } = subscriber;
    const isTheirs = awaits !== null && readsFor(principal, awaits.recipientId);
    send(subscriber, frame, isTheirs ? () => onTaken(awaits.deliveryId, principal.userId) : undefined);
  }

  /** Ends an earlier catching-up of the same reader. */
  function begin(subscriber: Subscriber, at: Cursor): number {
    subscriber.round += 1;
    subscriber.state = "catching-up";
    stand(subscriber, at);
    return subscriber.round;
  }

  async function catchUp(subscriber: Subscriber, after: Cursor | number, onLive?: OnLive): Promise<number | null> {
    if (subscriber.state === "closed") return null;
    const from = typeof after === "number" ? { position: after, mark: null } : after;
    const round = begin(subscriber, from);
    const checked = await patiently(subscriber, round, async () => ({ gap: await blocks.check(workspaceId, from) }));
    if (checked === null) return null;
    if (checked.gap !== null) jump(subscriber, checked.gap);
    return readOn(subscriber, round, onLive);
  }

  /** Sends a gap and moves the reader to the newest event. */
  function jump(subscriber: Subscriber, reason: GapReason): void {
    send(subscriber, gapFrame(reason, head));
    stand(subscriber, head);
  }

  async function readOn(subscriber: Subscriber, round: number, onLive?: OnLive): Promise<number | null> {
    let count = 0;
    while (subscriber.position !== head.position) {
      const page = await patiently(subscriber, round, () => pageAfter(subscriber.position));
      if (page === null) return null;
      if (page.kind === "gap") {
        jump(subscriber, page.reason);
        continue;
      }
      for (let rest = await replays.run(page.events); rest.length > 0; ) {
        await subscriber.outlet.drained();
        const { principal } = subscriber;
        const wanted = seesAllConversations(principal) ? [] : conversationsOf(rest);
        const membersOf = await patiently(subscriber, round, () => memberships.load(wanted));
        if (membersOf === null) return null;
        const isAsRead = () => isAt(subscriber, round) && subscriber.principal === principal;
        const told = await replays.run(() => (isAsRead() ? tellSome(subscriber, rest, membersOf) : null));
        if (told === null) continue;
        count += told.count;
        // It is gone, and that is not known here yet.
        if (told.passed === 0) await pause(clock, arrivalPauseMs);
        rest = rest.slice(told.passed);
      }
      stand(subscriber, page.cursor);
    }
    if (!isAt(subscriber, round)) return null;
    subscriber.state = "live";
    onLive?.(count);
    return count;
  }

  /** Sends events until the reader's buffer fills, which is far below the size at which a reader is dropped. */
  function tellSome(subscriber: Subscriber, events: readonly TailedEvent[], membersOf: MembersOf) {
    const { outlet } = subscriber;
    let [count, passed, size] = [0, 0, 0];
    outlet.cork();
    for (const tailed of events) {
      if (Math.max(size, outlet.bufferedBytes()) > lowWaterBytes) break;
      passed += 1;
      subscriber.position = tailed.event.position;
      const visible = visibleFrame(subscriber.principal, tailed.event, membersOf);
      if (visible === null) continue;
      const frame = tailed[visible];
      deliver(subscriber, tailed.event, frame);
      size += frame.size;
      count += 1;
    }
    outlet.uncork();
    return { count, passed };
  }

  function deliverLive(
    subscribers: Iterable<Subscriber>,
    tailed: TailedEvent,
    as: "frame" | "memberFrame" | "partingFrame",
  ): void {
    for (const subscriber of subscribers) {
      if (subscriber.state === "live") deliver(subscriber, tailed.event, tailed[as]);
    }
  }

  /** Nothing waits in here: whoever goes live stands before all of these events, or after them. */
  function tellLive(events: readonly TailedEvent[], membersOf: MembersOf): void {
    if (events.length > 1) for (const { outlet } of seats.all()) outlet.cork();
    for (const tailed of events) {
      const { event } = tailed;
      deliverLive(seats.overseersOf(event), tailed, "frame");
      deliverLive(seats.membersIn(event, membersOf), tailed, "memberFrame");
      deliverLive(seats.leaversOf(event, membersOf), tailed, "partingFrame");
    }
    if (events.length > 1) for (const { outlet } of seats.all()) outlet.uncork();
  }

  /** Null once the reader is gone, or was sent elsewhere. */
  async function patiently<Found>(
    subscriber: Subscriber,
    round: number,
    read: () => Promise<Found>,
  ): Promise<Found | null> {
    while (isAt(subscriber, round)) {
      try {
        const found = await read();
        return isAt(subscriber, round) ? found : null;
      } catch (error) {
        if (isRecordFault(error)) throw error;
      }
      await pause(clock, retryPauseMs);
    }
    return null;
  }

  /** Never past where the room stands: what is beyond comes live. */
  async function pageAfter(after: number): Promise<TailedPage> {
    if (after <= head.position) return blocks.read(workspaceId, after, head.position);
    // Another process has sent it events that have not arrived here yet.
    await pause(clock, arrivalPauseMs);
    return { kind: "events", events: () => [], cursor: { position: after, mark: null } };
  }

  return {
    workspaceId,
    size: seats.size,
    memberIds: seats.memberIds,
    position: () => head.position,
    cursor: () => toCursor(head),
    join: seats.seat,
    leave(subscriber) {
      subscriber.state = "closed";
      seats.unseat(subscriber);
    },
    reseat(subscriber) {
      seats.unseat(subscriber);
      seats.seat(subscriber);
    },
    membersOf: (conversationIds) => memberships.load(conversationIds),
    catchUp,
    async goLive(subscriber, onLive) {
      if (subscriber.state === "closed") return null;
      const at = { position: subscriber.position, mark: null };
      return readOn(subscriber, begin(subscriber, at), onLive);
    },
    async onEvents(events, last) {
      const membersOf = await loadMembers(events);
      for (const [index, slice] of slicesOf(events).entries()) {
        // A reader that reads has room again: what it could not have read yet does not count against it.
        if (index > 0) await setImmediate();
        tellLive(slice, membersOf);
        head = slice.at(-1)!.event;
      }
      head = last;
    },
    onGap(reason: GapReason, newHead) {
      memberships.forgetAll();
      const frame = gapFrame(reason, newHead);
      for (const subscriber of seats.all()) if (subscriber.state === "live") send(subscriber, frame);
      head = newHead;
      if (reason !== "unknown") return;
      // Readers that are catching up read a feed that no longer exists. They reconnect, and their cursors are checked.
      blocks.forget(workspaceId);
      for (const subscriber of seats.all()) {
        if (subscriber.state === "live" || subscriber.state === "closed") continue;
        subscriber.state = "closed";
        subscriber.outlet.close("broken");
      }
    },
    tell({ isForOverseers, participantIds }, frame, except) {
      const tellAll = (subscribers: Iterable<Subscriber>) => {
        for (const subscriber of subscribers) {
          if (subscriber.state === "live" && !except(subscriber)) send(subscriber, frame);
        }
      };
      if (isForOverseers) tellAll(seats.overseers);
      for (const participantId of participantIds) tellAll(seats.of(participantId));
    },
  };
}

function isAt(subscriber: Subscriber, round: number): boolean {
  return subscriber.round === round && subscriber.state === "catching-up";
}

/** Of little text each, but one event at least. */
function slicesOf(events: readonly TailedEvent[]): TailedEvent[][] {
  const slices: TailedEvent[][] = [];
  let size = Number.POSITIVE_INFINITY;
  for (const tailed of events) {
    size += tailed.frame.size;
    if (size > lowWaterBytes) {
      slices.push([]);
      size = tailed.frame.size;
    }
    slices.at(-1)!.push(tailed);
  }
  return slices;
}

function conversationsOf(events: readonly TailedEvent[]): string[] {
  return events.flatMap(({ event }) => event.conversationId ?? []);
}

/** What the reader missed cannot be told event by event: read the state over HTTP, and go on from this cursor. */
function gapFrame(reason: GapReason, head: Cursor): Frame {
  return frameOf("GAP", toCursor(head), { reason });
}

function stand(subscriber: Subscriber, cursor: Cursor): void {
  subscriber.position = cursor.position;
  subscriber.cursor = toCursor(cursor);
}
