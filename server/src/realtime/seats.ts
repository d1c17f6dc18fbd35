import { type FeedEvent, mayRead } from "../events/events.ts";
import { seesAllConversations } from "../identity/principal.ts";
import type { MembersOf } from "./memberships.ts";
import type { Subscriber } from "./subscriber.ts";

/** Who is in a room, found by what they may see. */
export function openSeats() {
  /** Those who see all conversations. */
  const overseers = new Set<Subscriber>();
  /** The others, by the participant that they are. */
  const members = new Map<string, Set<Subscriber>>();
  /** Everybody, and as whom they sit: a participant, or null among the overseers. */
  const seatOf = new Map<Subscriber, string | null>();

  return {
    overseers: overseers as Iterable<Subscriber>,
    all: (): Iterable<Subscriber> => seatOf.keys(),
    size: () => seatOf.size,
    hasMembers: () => members.size > 0,
    memberIds: () => [...members.keys()],
    of: (participantId: string): Iterable<Subscriber> => members.get(participantId) ?? [],

    seat(subscriber: Subscriber): void {
      const { principal } = subscriber;
      const seatedAs = seesAllConversations(principal) ? null : principal.participantId;
      seatOf.set(subscriber, seatedAs);
      if (seatedAs === null) overseers.add(subscriber);
      else members.set(seatedAs, (members.get(seatedAs) ?? new Set()).add(subscriber));
    },

    unseat(subscriber: Subscriber): void {
      const seatedAs = seatOf.get(subscriber);
      seatOf.delete(subscriber);
      overseers.delete(subscriber);
      if (seatedAs === undefined || seatedAs === null) return;
      const seats = members.get(seatedAs);
      if (seats?.delete(subscriber) && seats.size === 0) members.delete(seatedAs);
    },

    /** Those who see it all: what is of no conversation is for API keys whose scopes read it. */
    overseersOf({ conversationId, name }: FeedEvent): Iterable<Subscriber> {
      if (conversationId !== null) return overseers;
      return [...overseers].filter(({ principal }) => mayRead(principal, name));
    },

    /** Those in the conversation, but for the overseers. */
    *membersIn({ conversationId }: FeedEvent, membersOf: MembersOf): Generator<Subscriber> {
      if (members.size === 0 || conversationId === null) return;
      for (const participantId of membersOf(conversationId)) yield* members.get(participantId) ?? [];
    },

    /** Those who have left, and are not back. */
    leaversOf({ conversationId, alsoSeenBy }: FeedEvent, membersOf: MembersOf): Iterable<Subscriber> {
      if (alsoSeenBy === null || conversationId === null || membersOf(conversationId).includes(alsoSeenBy)) return [];
      return members.get(alsoSeenBy) ?? [];
    },
  };
}
