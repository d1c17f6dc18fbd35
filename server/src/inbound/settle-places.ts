import type { InboundRoute } from "../../../contract/src/messages.ts";
import { findOrCreateContacts, maxPeople, type ReachedPerson } from "../contacts/contacts.ts";
import { findOrCreateDirects } from "../conversations/conversations.ts";
import { RequestError } from "../errors.ts";
import type { ConversationId } from "../lib/ids.ts";
import { transaction } from "../lib/postgres.ts";
import type { InboundMessage, ReceiveDeps } from "./inbound-message.ts";
import type { InboundPlace } from "./places.ts";

interface SettledPlace {
  senderId: string;
  conversationId: ConversationId;
  route: InboundRoute;
}

interface Open {
  place: InboundPlace;
  settle: (settled: SettledPlace) => void;
}

/** In order. Creates missing contacts and conversations, many in one transaction. */
export async function settlePlaces(
  deps: Pick<ReceiveDeps, "db" | "clock">,
  inbound: readonly InboundMessage[],
  places: readonly InboundPlace[],
): Promise<SettledPlace[]> {
  const settled = new Array<SettledPlace>(inbound.length);
  const unsettled = new Map<string, { person: ReachedPerson; open: Open[] }>();
  for (const [index, { webhook, channel, event }] of inbound.entries()) {
    const place = places[index]!;
    const { senderId, conversationId, route } = place;
    if (senderId !== null && conversationId !== null && place.knowsAliases) {
      settled[index] = { senderId, conversationId, route };
      continue;
    }
    const { identifier, aliases, displayName } = event;
    const { workspaceId } = webhook;
    const key = JSON.stringify([workspaceId, channel, identifier, aliases]);
    const known = unsettled.get(key) ?? {
      person: { workspaceId, channel, identifier, aliases, displayName },
      open: [],
    };
    known.person.displayName ??= displayName;
    known.open.push({ place, settle: (one) => (settled[index] = one) });
    unsettled.set(key, known);
  }
  for (const [workspaceId, those] of Map.groupBy(unsettled.values(), ({ person }) => person.workspaceId)) {
    for (let from = 0; from < those.length; from += maxPeople) {
      await settlePeople(deps, workspaceId, those.slice(from, from + maxPeople));
    }
  }
  return settled;
}

async function settlePeople(
  { db, clock }: Pick<ReceiveDeps, "db" | "clock">,
  workspaceId: string,
  people: readonly { person: ReachedPerson; open: readonly Open[] }[],
): Promise<void> {
  const settled = await transaction(db, async (tx) => {
    const given = { db: tx, clock };
    const found = await findOrCreateContacts(
      given,
      workspaceId,
      people.map(({ person }) => person),
    );
    const results: [Open, SettledPlace][] = [];
    const left: { one: Open; senderId: string }[] = [];
    for (const [index, { open }] of people.entries()) {
      const senderId = found[index]!;
      for (const one of open) {
        const { conversationId, route, ...place } = one.place;
        if (conversationId === null || place.senderId !== senderId) left.push({ one, senderId });
        else results.push([one, { senderId, conversationId, route }]);
      }
    }
    const pairs = left.map(({ senderId }) => {
      return { senderId: workspaceId, recipientId: senderId, mayUseWorkspace: false };
    });
    const directs = await findOrCreateDirects(given, workspaceId, pairs);
    for (const [index, { one, senderId }] of left.entries()) {
      const direct = directs[index]!;
      if (direct instanceof RequestError) throw direct;
      results.push([one, { senderId, conversationId: direct, route: "private" }]);
    }
    return results;
  });
  for (const [open, place] of settled) open.settle(place);
}
