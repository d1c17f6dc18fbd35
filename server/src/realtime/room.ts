import { type FeedEvent, type GapReason, toCursor } from "../events/events.ts";
import { seesAllConversations } from "../identity/principal.ts";
import { type Clock, pause } from "../lib/clock.ts";
import type { Blocks, TailedEvent, TailedPage } from "./blocks.ts";
import { type Frame, frameOf } from "./frames.ts";
import type { Memberships } from "./memberships.ts";
import { isSeenBy, readsFor, type Subscriber, send } from "./subscriber.ts";
import type { TailListener } from "./tail.ts";

export interface RoomDeps {
  blocks: Blocks;
  memberships: Memberships;
  clock: Clock;
  /** A delivery in somebody's app was taken by a socket of theirs. */
  onTaken: (deliveryId: string) => void;
}

/** The readers of one workspace in this process. All live ones stand at the same position of its feed. */
export interface Room extends TailListener {
  readonly workspaceId: string;
  size(): number;
  /** The participants, other than those who see all, who have readers here. */
  memberIds(): string[];
  /** Where the live ones stand. */
  position(): number;
  /** A new reader, held where the room stands. */
  join(subscriber: Subscriber): void;
  leave(subscriber: Subscriber): void;
  /** After a change of the reader's role. */
  reseat(subscriber: Subscriber): void;
  /**
   * Sends all that the reader may see after a position, once and in order, and then lets it go live. Resolves with how
   * many that were; null when it was closed or resumed again meanwhile. Rejects when the feed cannot be read.
   */
  catchUp(subscriber: Subscriber, after: number): Promise<number | null>;
  /** To every live reader who is one of these participants, or sees all: what is not in the feed. */
  tell(participantIds: readonly string[], frame: Frame, except: (subscriber: Subscriber) => boolean): void;
}

/** How long a reader who is ahead of this process waits before it looks again, in milliseconds. */
const arrivalPauseMs = 20;

export function openRoom(workspaceId: string, head: number, deps: RoomDeps): Room {
  const { blocks, memberships, clock, onTaken } = deps;
  /** Those who see all conversations. */
  const overseers = new Set<Subscriber>();
  /** The others, by the participant that they are. */
  const members = new Map<string, Set<Subscriber>>();
  /** Everybody, and as whom they sit: a participant, or null among the overseers. */
  const seatOf = new Map<Subscriber, string | null>();
  let position = head;

  function seat(subscriber: Subscriber): void {
    const { principal } = subscriber;
    const seatedAs = seesAllConversations(principal) ? null : principal.participantId;
    seatOf.set(subscriber, seatedAs);
    if (seatedAs === null) overseers.add(subscriber);
    else members.set(seatedAs, (members.get(seatedAs) ?? new Set()).add(subscriber));
  }

  function unseat(subscriber: Subscriber): void {
    const seatedAs = seatOf.get(subscriber);
    seatOf.delete(subscriber);
    overseers.delete(subscriber);
    if (seatedAs === undefined || seatedAs === null) return;
    const seats = members.get(seatedAs);
    if (seats?.delete(subscriber) && seats.size === 0) members.delete(seatedAs);
  }

  async function loadMembers(events: readonly TailedEvent[]): Promise<void> {
    for (const { event } of events) {
      if (event.frame.type === "CONVERSATION" && event.conversationId !== null)
        memberships.forget(event.conversationId);
    }
    if (members.size === 0) return;
    await memberships.load(events.flatMap(({ event }) => event.conversationId ?? []));
  }

  function deliver(subscriber: Subscriber, { event, frame }: TailedEvent): void {
    const { awaits } = event;
    const isTheirs = awaits !== null && readsFor(subscriber.principal, awaits.recipientId);
    send(subscriber, frame, isTheirs ? () => onTaken(awaits.deliveryId) : undefined);
  }

  function* audienceOf({ conversationId, alsoSeenBy }: FeedEvent): Generator<Subscriber> {
    yield* overseers;
    if (members.size === 0) return;
    const seers = conversationId === null ? [] : memberships.of(conversationId);
    for (const participantId of seers) yield* members.get(participantId) ?? [];
    if (alsoSeenBy !== null && !seers.includes(alsoSeenBy)) yield* members.get(alsoSeenBy) ?? [];
  }

  async function catchUp(subscriber: Subscriber, after: number): Promise<number | null> {
    subscriber.round += 1;
    const { round } = subscriber;
    subscriber.state = "catching-up";
    subscriber.position = after;
    let count = 0;
    for (;;) {
      if (subscriber.position === position) {
        subscriber.state = "live";
        return count;
      }
      const page = await pageAfter(subscriber.position);
      if (page.kind === "events" && !seesAllConversations(subscriber.principal)) {
        await memberships.load(page.events.flatMap(({ event }) => event.conversationId ?? []));
      }
      await subscriber.outlet.drained();
      if (subscriber.round !== round || isClosed(subscriber)) return null;
      if (page.kind === "gap") {
        send(subscriber, gapFrame(page.reason, position));
        subscriber.position = position;
        continue;
      }
      for (const tailed of page.events) {
        if (!isSeenBy(subscriber.principal, tailed.event, memberships)) continue;
        deliver(subscriber, tailed);
        count += 1;
      }
      subscriber.position = page.last;
    }
  }

  /** Never past where the room stands: what is beyond comes live. */
  async function pageAfter(after: number): Promise<TailedPage> {
    if (after <= position) return blocks.read(workspaceId, after, position);
    // Another process told it what has not arrived here yet, or it is a cursor of another feed.
    const newest = await blocks.head(workspaceId);
    if (newest < after) return { kind: "gap", reason: "unknown", head: newest };
    await pause(clock, arrivalPauseMs);
    return { kind: "events", events: [], last: after };
  }

  return {
    workspaceId,
    size: () => seatOf.size,
    memberIds: () => [...members.keys()],
    position: () => position,
    join: seat,
    leave(subscriber) {
      subscriber.state = "closed";
      unseat(subscriber);
    },
    reseat(subscriber) {
      unseat(subscriber);
      seat(subscriber);
    },
    catchUp,
    async onEvents(events, last) {
      await loadMembers(events);
      // From here on nothing waits: whoever goes live stands before all of these events, or after them.
      for (const tailed of events) {
        for (const subscriber of audienceOf(tailed.event)) if (subscriber.state === "live") deliver(subscriber, tailed);
      }
      position = last;
    },
    onGap(reason: GapReason, newHead) {
      const frame = gapFrame(reason, newHead);
      for (const subscriber of seatOf.keys()) if (subscriber.state === "live") send(subscriber, frame);
      position = newHead;
    },
    tell(participantIds, frame, except) {
      const tellAll = (seats: Iterable<Subscriber>) => {
        for (const subscriber of seats) {
          if (subscriber.state === "live" && !except(subscriber)) send(subscriber, frame);
        }
      };
      tellAll(overseers);
      for (const participantId of participantIds) tellAll(members.get(participantId) ?? []);
    },
  };
}

function isClosed(subscriber: Subscriber): boolean {
  return subscriber.state === "closed";
}

/** What the reader missed cannot be told event by event: read the state over HTTP, and go on from this cursor. */
export function gapFrame(reason: GapReason, position: number): Frame {
  return frameOf("GAP", toCursor(position), { reason });
}
