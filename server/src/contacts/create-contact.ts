import type { RequestDb } from "../database-roles.ts";
import type { Clock } from "../lib/clock.ts";
import { newId } from "../lib/ids.ts";
import { type PoolClient, transaction } from "../lib/postgres.ts";
import { run } from "../lib/query.ts";
import { distinctAddresses, formatAddress, type ParseAddress } from "./address.ts";
import {
  type AddressOwner,
  findOwners,
  insertAddresses,
  insertAddressesOfMany,
  lockAddresses,
  ownersByAddress,
  requireFree,
} from "./address-book.ts";
import { type Contact, getContact, insertContact, insertContacts } from "./contact.ts";
import { lockPeopleShared } from "./participants.ts";
import { cutName, type Metadata, mergeMetadata, requireName } from "./text.ts";

export interface ContactInput {
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
    await insertContact(tx, { contactId, workspaceId, displayName, metadata, createdAt });
    await insertAddresses(tx, { workspaceId, participantId: contactId, addresses, createdAt });
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
 * Returns the id of the participant with this address, or else with one of its aliases, or else of a new contact. Adds
 * free addresses of the person to it; those of other participants stay there. Renames a contact that was named by its
 * address. `db` is in a transaction: concurrent calls agree on one contact.
 */
export async function findOrCreateContactByAddress(
  { db, clock }: { db: PoolClient; clock: Clock },
  person: ReachedPerson,
): Promise<string> {
  const { workspaceId, channel } = person;
  const names = identifiersOf(person);
  const addresses = names.map((identifier) => ({ channel, identifier }));
  const owners = await findOwners(db, workspaceId, addresses);
  const owner = ownerOf(names, owners);
  const hasNewNames = owners.length < names.length || nameToTake(names, owner, person.displayName) !== null;
  return owner === undefined || hasNewNames ? addIdentifiers({ db, clock }, person, names) : owner.participantId;
}

/**
 * As `findOrCreateContactByAddress`, for many people of one workspace, in order. Creates unknown people in a few
 * statements for all; changes only people with a new name or alias one by one. Takes a lock for each address: at most
 * `maxPeople`.
 */
export async function findOrCreateContacts(
  { db, clock }: { db: PoolClient; clock: Clock },
  workspaceId: string,
  people: readonly ReachedPerson[],
): Promise<string[]> {
  const named = people.map((person) => {
    const names = identifiersOf(person);
    return { person, names, addresses: names.map((identifier) => ({ channel: person.channel, identifier })) };
  });
  const all = named.flatMap(({ addresses }) => addresses);
  await lockPeopleShared(db, workspaceId);
  await lockAddresses(db, workspaceId, all);
  const owners = await ownersByAddress(db, workspaceId, all);
  const nowMs = clock.now();
  const made: (AddressOwner & { contactId: string })[] = [];
  const open = new Set<string>();
  const ids = named.map(({ person, names, addresses }) => {
    const held = addresses.flatMap((address) => owners.get(formatAddress(address)) ?? []);
    if (held.length === 0 && !addresses.some((address) => open.has(formatAddress(address)))) {
      const contactId = newId(nowMs);
      const displayName = cutName(person.displayName) ?? person.identifier;
      for (const address of addresses) {
        const owner = { ...address, contactId, participantId: contactId, kind: "contact" as const, displayName };
        made.push(owner);
        owners.set(formatAddress(address), owner);
      }
      return contactId;
    }
    const [owner] = held;
    if (held.length === names.length && nameToTake(names, owner, person.displayName) === null) {
      return owner!.participantId;
    }
    for (const address of addresses) open.add(formatAddress(address));
    return null;
  });
  const createdAt = new Date(nowMs);
  await insertContacts(db, workspaceId, [...new Map(made.map((one) => [one.contactId, one])).values()], createdAt);
  await insertAddressesOfMany(db, { workspaceId, addresses: made, createdAt });
  const found: string[] = [];
  for (const [index, person] of people.entries()) {
    found.push(ids[index] ?? (await findOrCreateContactByAddress({ db, clock }, person)));
  }
  return found;
}

/** In one transaction. Each address and new conversation takes a lock; PostgreSQL has 6,400 by default. */
export const maxPeople = 100;

function identifiersOf({ identifier, aliases }: ReachedPerson): string[] {
  return [...new Set([identifier, ...aliases])];
}

async function addIdentifiers(
  { db, clock }: { db: PoolClient; clock: Clock },
  person: ReachedPerson,
  names: string[],
): Promise<string> {
  const { workspaceId, channel } = person;
  const nowMs = clock.now();
  const createdAt = new Date(nowMs);
  const addresses = names.map((identifier) => ({ channel, identifier }));
  await lockPeopleShared(db, workspaceId);
  await lockAddresses(db, workspaceId, addresses);
  const owners = await findOwners(db, workspaceId, addresses);
  const owner = ownerOf(names, owners);
  if (owner === undefined) {
    const contactId = newId(nowMs);
    const displayName = cutName(person.displayName) ?? person.identifier;
    await insertContact(db, { contactId, workspaceId, displayName, metadata: {}, createdAt });
    await insertAddresses(db, { workspaceId, participantId: contactId, addresses, createdAt });
    return contactId;
  }
  const { participantId } = owner;
  const missing = addresses.filter(({ identifier }) => !owners.some((taken) => taken.identifier === identifier));
  await insertAddresses(db, { workspaceId, participantId, addresses: missing, createdAt });
  const name = nameToTake(names, owner, person.displayName);
  if (name !== null) await rename(db, owner, name);
  return participantId;
}

function ownerOf(names: string[], owners: AddressOwner[]): AddressOwner | undefined {
  const byName = new Map(owners.map((owner) => [owner.identifier, owner]));
  return names.map((name) => byName.get(name)).find((owner) => owner !== undefined);
}

function nameToTake(names: string[], owner: AddressOwner | undefined, displayName: string | null): string | null {
  const name = cutName(displayName);
  const isNamedByAddress = owner?.kind === "contact" && names.includes(owner.displayName);
  return isNamedByAddress && name !== owner.displayName ? name : null;
}

async function rename(db: PoolClient, { participantId, displayName }: AddressOwner, name: string): Promise<void> {
  const text = "UPDATE participants SET display_name = $3 WHERE participant_id = $1 AND display_name = $2";
  await run(db, text, [participantId, displayName, name]);
}
