import type { Clock } from "../lib/clock.ts";
import { newId } from "../lib/ids.ts";
import { type Pool, type PoolClient, transaction } from "../lib/postgres.ts";
import { run } from "../lib/query.ts";
import { type Address, distinctAddresses, formatAddress, type ParseAddress } from "./address.ts";
import {
  type AddressOwner,
  findOwners,
  insertAddresses,
  insertAddressesOfMany,
  lockAddresses,
  requireFree,
} from "./address-book.ts";
import { type Contact, getContact, insertContact, insertContacts } from "./contact.ts";
import { holdPeople } from "./participants.ts";
import { cutName, type Metadata, mergeMetadata, requireName } from "./text.ts";

/** Most addresses of one contact when it is made. */
export const maxAddresses = 20;

export interface ContactInput {
  display_name: string;
  addresses?: string[];
  metadata?: Metadata;
}

/** Throws CONFLICT, naming the participant, when one of the addresses is another's. */
export async function createContact(
  { db, clock, parseAddress }: { db: Pool; clock: Clock; parseAddress: ParseAddress },
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
  /** In its stored form, as the connector made it. */
  identifier: string;
  /** Other names that the platform has for the same person. */
  aliases: string[];
  /** What the person is called, where that is known. */
  displayName: string | null;
}

/**
 * The participant with this address, or else with one of its aliases, or else a new contact: its id. Names of the
 * person that nobody has are added to it; one that another participant has stays there. A contact that was named by
 * its address takes the name that the person goes by. `db` holds a transaction: calls at the same time agree on one.
 */
export async function findOrCreateContactByAddress(
  { db, clock }: { db: PoolClient; clock: Clock },
  person: ReachedPerson,
): Promise<string> {
  const { workspaceId, channel } = person;
  const names = namesOf(person);
  const addresses = names.map((identifier) => ({ channel, identifier }));
  const owners = await findOwners(db, workspaceId, addresses);
  const owner = ownerOf(names, owners);
  const hasNews = owners.length < names.length || nameToTake(names, owner, person.displayName) !== null;
  return owner === undefined || hasNews ? addNames({ db, clock }, person, names) : owner.participantId;
}

/**
 * As `findOrCreateContactByAddress`, for many people of one workspace, in the order of `people`. Unknown people without
 * a conflict are created in a few statements for all, others one by one. Takes a lock for each name: at most
 * `maxPeople`.
 */
export async function findOrCreateContacts(
  { db, clock }: { db: PoolClient; clock: Clock },
  workspaceId: string,
  people: readonly ReachedPerson[],
): Promise<{ participantId: string; isNew: boolean }[]> {
  const named = people.map((person) => ({ person, names: namesOf(person) }));
  const addresses = named.flatMap(({ person, names }) =>
    names.map((identifier) => ({ channel: person.channel, identifier })),
  );
  await holdPeople(db, workspaceId);
  await lockAddresses(db, workspaceId, addresses);
  const taken = new Set((await findOwners(db, workspaceId, addresses)).map(formatAddress));
  const nowMs = clock.now();
  const made = new Map<ReachedPerson, { contactId: string; displayName: string; addresses: Address[] }>();
  for (const { person, names } of named) {
    const own = names.map((identifier) => ({ channel: person.channel, identifier }));
    const isTaken = own.some((address) => taken.has(formatAddress(address)));
    // Later people with one of these names wait for it.
    for (const address of own) taken.add(formatAddress(address));
    if (isTaken) continue;
    const displayName = cutName(person.displayName) ?? person.identifier;
    made.set(person, { contactId: newId(nowMs), displayName, addresses: own });
  }
  const contacts = [...made.values()];
  if (contacts.length > 0) {
    const createdAt = new Date(nowMs);
    await insertContacts(db, workspaceId, contacts, createdAt);
    const given = contacts.flatMap((one) => one.addresses.map((a) => ({ ...a, participantId: one.contactId })));
    await insertAddressesOfMany(db, { workspaceId, addresses: given, createdAt });
  }
  const found: { participantId: string; isNew: boolean }[] = [];
  for (const person of people) {
    const contactId = made.get(person)?.contactId;
    found.push(
      contactId === undefined
        ? { participantId: await findOrCreateContactByAddress({ db, clock }, person), isNew: false }
        : { participantId: contactId, isNew: true },
    );
  }
  return found;
}

/** Each name takes a lock in the shared memory of PostgreSQL, which has room for 6,400 by default. */
export const maxPeople = 200;

function namesOf({ identifier, aliases }: ReachedPerson): string[] {
  return [...new Set([identifier, ...aliases])];
}

async function addNames(
  { db, clock }: { db: PoolClient; clock: Clock },
  person: ReachedPerson,
  names: string[],
): Promise<string> {
  const { workspaceId, channel } = person;
  const nowMs = clock.now();
  const createdAt = new Date(nowMs);
  const addresses = names.map((identifier) => ({ channel, identifier }));
  await holdPeople(db, workspaceId);
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

/** What a contact that was named by its address is called from now on; null when its name stays. */
function nameToTake(names: string[], owner: AddressOwner | undefined, displayName: string | null): string | null {
  const name = cutName(displayName);
  const isNamedByAddress = owner?.kind === "contact" && names.includes(owner.displayName);
  return isNamedByAddress && name !== owner.displayName ? name : null;
}

/** Unless somebody else renamed it meanwhile. */
async function rename(db: PoolClient, { participantId, displayName }: AddressOwner, name: string): Promise<void> {
  const text = "UPDATE participants SET display_name = $3 WHERE participant_id = $1 AND display_name = $2";
  await run(db, text, [participantId, displayName, name]);
}
