import type { ParticipantKind } from "../../../contract/src/people.ts";
import { forbidden, RequestError } from "../errors.ts";
import type { PoolClient } from "../lib/postgres.ts";
import { all, type Db, run } from "../lib/query.ts";
import { type Address, formatAddress } from "./address.ts";

/** Until the transaction ends. Call it before assigning addresses, so that concurrent transactions cannot deadlock. */
export async function lockAddresses(tx: PoolClient, workspaceId: string, addresses: Address[]): Promise<void> {
  const names = [...new Set(addresses.map((address) => `${workspaceId} ${formatAddress(address)}`))].sort();
  await tx.query("SELECT pg_advisory_xact_lock(hashtextextended(name, 0)) FROM unnest($1::text[]) AS n (name)", [
    names,
  ]);
}

export interface AddressOwner extends Address {
  participantId: string;
  kind: ParticipantKind;
  displayName: string;
}

export function findOwners(db: Db, workspaceId: string, addresses: Address[]): Promise<AddressOwner[]> {
  return all<AddressOwner>(
    db,
    `SELECT channel, identifier, participant_id AS "participantId", kind, display_name AS "displayName"
     FROM addresses a JOIN participants p USING (participant_id)
     WHERE a.workspace_id = $1 AND p.deleted_at IS NULL
       AND (channel, identifier) IN (SELECT * FROM unnest($2::text[], $3::text[]))`,
    [workspaceId, ...columns(addresses)],
  );
}

export async function ownersByAddress(
  db: Db,
  workspaceId: string,
  addresses: Address[],
): Promise<Map<string, AddressOwner>> {
  const owners = await findOwners(db, workspaceId, addresses);
  return new Map(owners.map((owner) => [formatAddress(owner), owner]));
}

export async function findParticipantByAddress(db: Db, workspaceId: string, address: Address): Promise<string | null> {
  return (await findOwners(db, workspaceId, [address]))[0]?.participantId ?? null;
}

/** Throws CONFLICT when one of the addresses belongs to another participant. */
export function requireFree(owners: AddressOwner[], participantId: string | null = null): void {
  const taken = owners.find((owner) => owner.participantId !== participantId);
  if (taken === undefined) return;
  const address = formatAddress(taken);
  throw new RequestError("CONFLICT", `${address} is already the address of the participant ${taken.participantId}.`, {
    details: { address, participant_id: taken.participantId },
  });
}

/** Appends them in order. The caller holds their locks and knows that they are free, or of deleted participants. */
export async function insertAddresses(
  db: Db,
  given: { workspaceId: string; addresses: (Address & { participantId: string })[]; createdAt: Date },
): Promise<void> {
  if (given.addresses.length === 0) return;
  await run(
    db,
    `INSERT INTO addresses (workspace_id, channel, identifier, participant_id, created_at)
     SELECT $1, channel, identifier, participant_id, $5
     FROM unnest($2::text[], $3::text[], $4::uuid[]) WITH ORDINALITY AS a (channel, identifier, participant_id, place)
     ORDER BY place
     ON CONFLICT (workspace_id, channel, identifier) DO UPDATE SET participant_id = excluded.participant_id,
       created_at = excluded.created_at, last_heard_at = NULL, last_channel_account_id = NULL, last_provider_message_id = NULL, ordinal = DEFAULT`,
    [
      given.workspaceId,
      ...columns(given.addresses),
      given.addresses.map(({ participantId }) => participantId),
      given.createdAt,
    ],
  );
}

export async function deleteAddress(db: Db, participantId: string, workspaceId: string, address: Address) {
  const { channel, identifier } = address;
  const text = `DELETE FROM addresses
    WHERE workspace_id = $1 AND channel = $2 AND identifier = $3 AND participant_id = $4`;
  return (await run(db, text, [workspaceId, channel, identifier, participantId])) > 0;
}

export async function takeAddress(
  db: Db,
  owner: { workspaceId: string; participantId: string },
  { channel, identifier }: Address,
): Promise<void> {
  await run(
    db,
    `UPDATE addresses SET participant_id = $2, ordinal = DEFAULT
      WHERE workspace_id = $1 AND channel = $3 AND identifier = $4`,
    [owner.workspaceId, owner.participantId, channel, identifier],
  );
}

export async function deleteAddresses(db: Db, participantId: string): Promise<void> {
  await run(db, "DELETE FROM addresses WHERE participant_id = $1", [participantId]);
}

export async function moveAddresses(db: Db, from: string, into: string): Promise<void> {
  await run(db, "UPDATE addresses SET participant_id = $2, ordinal = DEFAULT WHERE participant_id = $1", [from, into]);
}

export interface HeldAddress extends Address {
  participantId: string;
  lastReceivedAt: Date | null;
}

/** In the order in which each participant got them. */
export function listAddresses(db: Db, participantIds: string[]): Promise<HeldAddress[]> {
  return all<HeldAddress>(
    db,
    `SELECT participant_id AS "participantId", channel, identifier, last_heard_at AS "lastReceivedAt"
     FROM addresses WHERE participant_id = ANY ($1) ORDER BY participant_id, ordinal`,
    [participantIds],
  );
}

function columns(addresses: Address[]): [string[], string[]] {
  return [addresses.map((address) => address.channel), addresses.map((address) => address.identifier)];
}

/** In order. FORBIDDEN for the first address that is not a user's, with the same message whether a contact has it. */
export async function requireUsersAt(
  db: Db,
  workspaceId: string,
  named: readonly { address: Address; field: string }[],
): Promise<string[]> {
  const addresses = named.map(({ address }) => address);
  const owners = await ownersByAddress(db, workspaceId, addresses);
  return named.map(({ address, field }) => {
    const owner = owners.get(formatAddress(address));
    if (owner?.kind !== "user") throw onlyUsers(field);
    return owner.participantId;
  });
}

export function onlyUsers(field: string): RequestError {
  return forbidden(
    `${field}: with the role member you can name only users of this workspace, and write to contacts only in conversations ` +
      "that you are in. Ask an agent to add you.",
    { field },
  );
}
