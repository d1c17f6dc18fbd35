import type { RequestDb } from "../database-roles.ts";
import type { Clock } from "../lib/clock.ts";
import { newId } from "../lib/ids.ts";
import { type PoolClient, transaction } from "../lib/postgres.ts";
import { run } from "../lib/query.ts";
import { type Address, distinctAddresses, formatAddress, type ParseAddress } from "./address.ts";
import {
  type AddressOwner,
  findOwners,
  insertAddresses,
  lockAddresses,
  ownersByAddress,
  requireFree,
} from "./address-book.ts";
import { type Contact, getContact, insertContacts } from "./contact.ts";
import { lockPeopleShared } from "./participants.ts";
import { cutName, type Metadata, mergeMetadata, requireName } from "./text.ts";

interface ContactInput {
  display_name: string;
  addresses?: string[];
  metadata?: Metadata;
}

/** Throws CONFLICT, naming the participant, when one of the addresses is taken. */
export async function createContact(
  { db, clock, parseAddress }: { db: RequestDb; clock: Clock; parseAddress: ParseAddress },
  workspaceId: string,
  input: ContactInput,
): Promise<Contact> {
  const displayName = requireName(input.display_name, "display_name");
  const metadata = mergeMetadata({}, input.metadata ?? {});
  const given = (input.addresses ?? []).map((address, index) => parseAddress(address, `addresses.${index}`));
  const addresses = distinctAddresses(given);
  const nowMs = clock.now();
  const [contactId, createdAt] = [newId(nowMs), new Date(nowMs)];
  return transaction(db, async (tx) => {
    await lockAddresses(tx, workspaceId, addresses);
    requireFree(await findOwners(tx, workspaceId, addresses));
    await insertContacts(tx, workspaceId, [{ contactId, displayName, metadata }], createdAt);
    const owned = addresses.map((address) => ({ ...address, participantId: contactId }));
    await insertAddresses(tx, { workspaceId, addresses: owned, createdAt });
    return getContact(tx, workspaceId, contactId);
  });
}

export interface ReachedPerson {
  workspaceId: string;
  channel: string;
  identifier: string;
  aliases: string[];
  displayName: string | null;
}

/**
 * For each person, in order: the id of the participant with this address, or else with one of its aliases, or else of a
 * new contact. Adds free addresses of the person to it; those of other participants stay there. Renames a contact that
 * was named by its address. Takes a few statements for any number of people. `db` is in a transaction, which takes a lock
 * for each address: at most `maxPeople`. Concurrent calls agree on one contact.
 */
export async function findOrCreateContacts(
  { db, clock }: { db: PoolClient; clock: Clock },
  workspaceId: string,
  people: readonly ReachedPerson[],
): Promise<string[]> {
  const given = people.map((person) => ({ person, addresses: addressesOf(person) }));
  const all = given.flatMap(({ addresses }) => addresses);
  await lockPeopleShared(db, workspaceId);
  await lockAddresses(db, workspaceId, all);
  const owners = await ownersByAddress(db, workspaceId, all);
  const nowMs = clock.now();
  const createdAt = new Date(nowMs);
  const contacts = new Map<string, { contactId: string; displayName: string }>();
  const added: AddressOwner[] = [];
  const renames = new Map<string, { participantId: string; was: string; name: string }>();
  const ids = given.map(({ person, addresses }) => {
    const name = cutName(person.displayName);
    const known = addresses.map((address) => owners.get(formatAddress(address))).find((owner) => owner !== undefined);
    const participantId = known?.participantId ?? newId(nowMs);
    const kind = known?.kind ?? "contact";
    const was = known?.displayName ?? person.identifier;
    const current = contacts.get(participantId)?.displayName ?? renames.get(participantId)?.name ?? was;
    const isNamedByAddress = kind === "contact" && addresses.some(({ identifier }) => identifier === current);
    const displayName = (isNamedByAddress ? name : null) ?? current;
    if (known === undefined || contacts.has(participantId)) {
      contacts.set(participantId, { contactId: participantId, displayName });
    } else if (displayName !== current) {
      renames.set(participantId, { participantId, was, name: displayName });
    }
    for (const address of addresses) {
      if (owners.has(formatAddress(address))) continue;
      const row = { ...address, participantId, kind, displayName: was };
      added.push(row);
      owners.set(formatAddress(address), row);
    }
    return participantId;
  });
  await insertContacts(db, workspaceId, [...contacts.values()], createdAt);
  await insertAddresses(db, { workspaceId, addresses: added, createdAt });
  await renameContacts(db, [...renames.values()]);
  return ids;
}

/** In one transaction. Each address and new conversation takes a lock; PostgreSQL has 6,400 by default. */
export const maxPeople = 100;

function addressesOf({ channel, identifier, aliases }: ReachedPerson): Address[] {
  return [...new Set([identifier, ...aliases])].map((each) => ({ channel, identifier: each }));
}

/** Except contacts that were renamed concurrently. */
async function renameContacts(
  db: PoolClient,
  renames: readonly { participantId: string; was: string; name: string }[],
): Promise<void> {
  if (renames.length === 0) return;
  await run(
    db,
    `UPDATE participants p SET display_name = r.name
       FROM unnest($1::uuid[], $2::text[], $3::text[]) AS r (participant_id, was, name)
      WHERE p.participant_id = r.participant_id AND p.display_name = r.was`,
    [renames.map(({ participantId }) => participantId), renames.map(({ was }) => was), renames.map(({ name }) => name)],
  );
}
