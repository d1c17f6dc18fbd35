import {
  type Address,
  findOrCreateContacts,
  formatAddress,
  maxPeople,
  onlyUsers,
  ownersByAddress,
} from "../contacts/contacts.ts";
import type { RequestDb } from "../database-roles.ts";
import type { RequestError } from "../errors.ts";
import type { Clock } from "../lib/clock.ts";
import { type PoolClient, transaction } from "../lib/postgres.ts";
import { type Direct, type DirectPair, findKnownDirects, findNewest, findOrCreateDirects } from "./direct.ts";

interface DirectTo extends Omit<DirectPair, "recipientId"> {
  address: Address;
}

export interface NewDirect<To extends DirectTo = DirectTo> {
  asked: To;
  recipientId: string | null;
}

interface DirectToDeps<To extends DirectTo> {
  db: RequestDb;
  clock: Clock;
  /** In order: null, or the error that prevents the creation. */
  check?: (directs: readonly NewDirect<To>[]) => Promise<(RequestError | null)[]>;
}

interface DirectCaller {
  workspaceId: string;
  mayReachContacts: boolean;
}

interface Search<To extends DirectTo> extends NewDirect<To> {
  found: Direct | null;
}

/**
 * The private conversation of each sender with the owner of the address, in the order of `asked`. Creates missing
 * contacts and conversations. Few statements for all, and one at a time: two when nothing is missing. FORBIDDEN for an
 * address that must be a user's and is not; otherwise as `findOrCreateDirects`.
 */
export async function findDirectsTo<To extends DirectTo>(
  deps: DirectToDeps<To>,
  caller: DirectCaller,
  asked: readonly To[],
): Promise<Direct[]> {
  const { db, clock } = deps;
  const searches = asked.map((one): Search<To> => ({ asked: one, recipientId: null, found: null }));
  await lookUp(db, caller, searches);
  await refuse(deps, caller, searches);
  const missing = Map.groupBy(
    searches.filter(({ found }) => found === null),
    targetOf,
  );
  const targets = [...missing.values()];
  for (let from = 0; from < targets.length; from += maxPeople) {
    const some = targets.slice(from, from + maxPeople);
    const directs = await transaction(db, (tx) =>
      create(
        { db: tx, clock },
        caller,
        some.map(([first]) => first!),
      ),
    );
    for (const [index, those] of some.entries()) for (const search of those) search.found = directs[index]!;
  }
  return searches.map(({ found }) => found!);
}

function targetOf({ asked: { senderId, address } }: Search<DirectTo>): string {
  return `${senderId} ${formatAddress(address)}`;
}

async function lookUp(db: RequestDb, { workspaceId, mayReachContacts }: DirectCaller, searches: Search<DirectTo>[]) {
  if (searches.length === 0) return;
  const addresses = searches.map(({ asked }) => asked.address);
  const owners = await ownersByAddress(db, workspaceId, addresses);
  for (const search of searches) {
    const owner = owners.get(formatAddress(search.asked.address));
    if (!mayReachContacts && owner?.kind !== "user") search.found = onlyUsers("to");
    else search.recipientId = owner?.participantId ?? null;
  }
  const known = searches.filter(({ recipientId }) => recipientId !== null);
  const directs = await findKnownDirects(db, workspaceId, known.map(pairOf));
  for (const [index, search] of known.entries()) search.found = directs[index]!;
}

function pairOf({ asked, recipientId }: Search<DirectTo>): DirectPair {
  return { senderId: asked.senderId, recipientId: recipientId!, mayUseWorkspace: asked.mayUseWorkspace };
}

async function refuse<To extends DirectTo>(
  { db, check }: DirectToDeps<To>,
  caller: DirectCaller,
  searches: readonly Search<To>[],
): Promise<void> {
  const missing = searches.filter(({ found }) => found === null);
  if (check === undefined || missing.length === 0) return;
  const known = missing.filter(({ recipientId }) => recipientId !== null);
  const newest = await findNewest(db, known.map(pairOf));
  const existing = new Set(known.filter((_search, index) => newest[index] !== null));
  const created = missing.filter((search) => !existing.has(search));
  if (created.length === 0) return;
  const errors = await check(created);
  // A conversation that is created for one message is then used by the others, and accepting checks them.
  const wanted = new Set(created.filter((_search, index) => errors[index] === null).map(targetOf));
  const refused = [...created.entries()].filter(([, search]) => !wanted.has(targetOf(search)));
  await lookUp(
    db,
    caller,
    refused.map(([, search]) => search),
  );
  for (const [index, search] of refused) search.found ??= errors[index]!;
}

async function create(
  deps: { db: PoolClient; clock: Clock },
  { workspaceId, mayReachContacts }: DirectCaller,
  searches: readonly Search<DirectTo>[],
): Promise<Direct[]> {
  const people = searches.map(({ asked: { address } }) => ({
    workspaceId,
    ...address,
    aliases: [],
    displayName: null,
  }));
  const recipientIds = mayReachContacts
    ? await findOrCreateContacts(deps, workspaceId, people)
    : searches.map(({ recipientId }) => recipientId!);
  const pairs = searches.map((search, index) => pairOf({ ...search, recipientId: recipientIds[index]! }));
  return findOrCreateDirects(deps, workspaceId, pairs);
}
