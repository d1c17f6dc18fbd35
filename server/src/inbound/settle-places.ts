import { findOrCreateContacts, maxPeople, type ReachedPerson } from "../contacts/contacts.ts";
import { findOrCreateDirects } from "../conversations/conversations.ts";
import { RequestError } from "../errors.ts";
import type { ConversationId } from "../lib/ids.ts";
import { inParts } from "../lib/in-parts.ts";
import { transaction } from "../lib/postgres.ts";
import type { InboundMessage, ReceiveDeps } from "./inbound-message.ts";
import type { InboundPlace } from "./places.ts";

export interface SettledPlace extends InboundPlace {
  senderId: string;
  conversationId: ConversationId;
}

/** A person, and the indexes of their messages that need a contact or a conversation. */
interface Unsettled {
  person: ReachedPerson;
  indexes: number[];
}

/** In order. Creates missing contacts and conversations, many in one transaction. */
export async function settlePlaces(
  deps: Pick<ReceiveDeps, "db" | "clock">,
  inbound: readonly InboundMessage[],
  places: readonly InboundPlace[],
): Promise<SettledPlace[]> {
  const { workspaceId, channel } = inbound[0]!.account;
  const unsettled = new Map<string, Unsettled>();
  for (const [index, { event }] of inbound.entries()) {
    const { senderId, conversationId, knowsAliases } = places[index]!;
    if (senderId !== null && conversationId !== null && knowsAliases) continue;
    const { identifier, aliases, displayName } = event;
    const key = JSON.stringify([identifier, aliases]);
    const { person, indexes } = unsettled.get(key) ?? {
      person: { workspaceId, channel, identifier, aliases, displayName },
      indexes: [],
    };
    person.displayName ??= displayName;
    unsettled.set(key, { person, indexes: [...indexes, index] });
  }
  const settled = [...places];
  for (const some of inParts([...unsettled.values()], () => 1, maxPeople)) {
    await settlePeople(deps, workspaceId, some, settled);
  }
  return settled as SettledPlace[];
}

async function settlePeople(
  { db, clock }: Pick<ReceiveDeps, "db" | "clock">,
  workspaceId: string,
  people: readonly Unsettled[],
  places: InboundPlace[],
): Promise<void> {
  await transaction(db, async (tx) => {
    const given = { db: tx, clock };
    const found = await findOrCreateContacts(
      given,
      workspaceId,
      people.map(({ person }) => person),
    );
    const left = people
      .flatMap(({ indexes }, place) => indexes.map((index) => ({ index, senderId: found[place]! })))
      .filter(({ index, senderId }) => places[index]!.conversationId === null || places[index]!.senderId !== senderId);
    const pairs = left.map(({ senderId }) => {
      return { senderId: workspaceId, recipientId: senderId, mayUseWorkspace: false };
    });
    const directs = await findOrCreateDirects(given, workspaceId, pairs);
    for (const [place, { index, senderId }] of left.entries()) {
      const conversationId = directs[place]!;
      if (conversationId instanceof RequestError) throw conversationId;
      places[index] = { ...places[index]!, senderId, conversationId, route: "private" };
    }
  });
}
