import { seesAllConversations } from "../credentials/credentials.ts";
import { type FeedEvent, type MembersOf, mayRead } from "../events/events.ts";
import type { Subscriber } from "./subscriber.ts";

/** The readers in a room, grouped by what they may see. */
export function openSeats() {
  /** Readers that see all conversations. */
  const overseers = new Set<Subscriber>();
  /** The other readers, by participant. */
  const members = new Map<string, Set<Subscriber>>();
  /** All readers with their participant; null for readers that see all conversations. */
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

    /** Readers that see all conversations. Events outside conversations go only to API keys with the scope. */
    overseersOf({ conversationId, name }: FeedEvent): Iterable<Subscriber> {
      if (conversationId !== null) return overseers;
      return [...overseers].filter(({ principal }) => mayRead(principal, name));
    },

    /** Readers that are in the conversation and do not see all conversations. */
    *membersIn({ conversationId }: FeedEvent, membersOf: MembersOf): Generator<Subscriber> {
      if (members.size === 0 || conversationId === null) return;
      for (const participantId of membersOf(conversationId)) yield* members.get(participantId) ?? [];
    },

    /** Readers that have left the conversation and not come back. */
    leaversOf({ conversationId, alsoSeenBy }: FeedEvent, membersOf: MembersOf): Iterable<Subscriber> {
      if (alsoSeenBy === null || conversationId === null || membersOf(conversationId).includes(alsoSeenBy)) return [];
      return members.get(alsoSeenBy) ?? [];
    },
  };
}
