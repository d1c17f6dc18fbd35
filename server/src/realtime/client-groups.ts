import { seesAllConversations } from "../credentials/credentials.ts";
import { type FeedEvent, isOfEveryFeed, type MembersOf, mayRead, seesOutside } from "../events/events.ts";
import type { Client } from "./client.ts";

/** The clients of a feed, grouped by what they may see. "Agents" are all who see all conversations, admins too. */
export class ClientGroups {
  readonly agents = new Set<Client>();
  readonly #members = new Map<string, Set<Client>>();
  readonly #groupOf = new Map<Client, string | null>();

  all(): Iterable<Client> {
    return this.#groupOf.keys();
  }

  size(): number {
    return this.#groupOf.size;
  }

  memberIds(): string[] {
    return [...this.#members.keys()];
  }

  of(participantId: string): Iterable<Client> {
    return this.#members.get(participantId) ?? [];
  }

  add(client: Client): void {
    this.remove(client);
    const { principal } = client;
    const group = seesAllConversations(principal) ? null : principal.participantId;
    this.#groupOf.set(client, group);
    if (group === null) this.agents.add(client);
    else this.#members.set(group, (this.#members.get(group) ?? new Set()).add(client));
  }

  remove(client: Client): void {
    const group = this.#groupOf.get(client) ?? null;
    this.#groupOf.delete(client);
    this.agents.delete(client);
    if (group === null) return;
    const clients = this.#members.get(group);
    if (clients?.delete(client) && clients.size === 0) this.#members.delete(group);
  }

  agentsThatSee(event: FeedEvent): Iterable<Client> {
    if (event.conversationId !== null) return whoMayRead(event, this.agents);
    return [...this.agents].filter(({ principal }) => seesOutside(principal, event));
  }

  *membersThatSee(event: FeedEvent, membersOf: MembersOf): Generator<Client> {
    const { conversationId, onlyFor } = event;
    if (this.#members.size === 0) return;
    if (conversationId === null) {
      for (const client of onlyFor === null ? [] : this.of(onlyFor)) {
        if (seesOutside(client.principal, event)) yield client;
      }
      return;
    }
    for (const participantId of membersOf(conversationId)) yield* whoMayRead(event, this.of(participantId));
  }

  /** Clients of the participant that has left the conversation and has not come back. */
  leaversOf({ conversationId, alsoSeenBy }: FeedEvent, membersOf: MembersOf): Iterable<Client> {
    if (alsoSeenBy === null || conversationId === null || membersOf(conversationId).includes(alsoSeenBy)) return [];
    return this.of(alsoSeenBy);
  }
}

/** Of clients that see the event's conversation. */
function whoMayRead(event: FeedEvent, clients: Iterable<Client>): Iterable<Client> {
  if (isOfEveryFeed(event)) return clients;
  return [...clients].filter(({ principal }) => mayRead(principal, event.name));
}
