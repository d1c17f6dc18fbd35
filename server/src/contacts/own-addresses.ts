import { type Actor, recordAuditEvent } from "../audit/audit.ts";
import type { RequestDb } from "../database-roles.ts";
import { notFound } from "../errors.ts";
import type { Clock } from "../lib/clock.ts";
import { type PoolClient, transaction } from "../lib/postgres.ts";
import type { Db } from "../lib/query.ts";
import { type Address, formatAddress } from "./address.ts";
import {
  deleteAddress,
  findOwners,
  insertAddresses,
  listAddresses,
  lockAddresses,
  requireFree,
} from "./address-book.ts";
import { describeParticipants, lockPeopleShared, resolveParticipants } from "./participants.ts";

export interface AddressHolder {
  workspaceId: string;
  participantId: string;
  kind: "user" | "contact";
}

export interface HolderView {
  participantId: string;
  displayName: string;
  addresses: string[];
}

/** Safe to repeat. Throws CONFLICT, naming the participant, when the address is taken. */
export async function addAddress(
  { db, clock }: { db: RequestDb; clock: Clock },
  by: Actor,
  holder: AddressHolder,
  address: Address,
): Promise<HolderView> {
  const { workspaceId } = holder;
  const createdAt = new Date(clock.now());
  return transaction(db, async (tx) => {
    const participantId = await holdHolder(tx, holder);
    await lockAddresses(tx, workspaceId, [address]);
    const owners = await findOwners(tx, workspaceId, [address]);
    requireFree(owners, participantId);
    if (owners.length === 0) {
      await insertAddresses(tx, { workspaceId, addresses: [{ ...address, participantId }], createdAt });
    }
    const { displayName, addresses } = (await describeParticipants(tx, [participantId])).get(participantId)!;
    if (owners.length === 0) await record(tx, by, "address.added", { ...holder, participantId }, address);
    return { participantId, displayName, addresses: addresses.map(formatAddress) };
  });
}

/** Throws RESOURCE_NOT_FOUND when the address is not this participant's. Deliveries under way continue. */
export async function removeAddress(db: RequestDb, by: Actor, holder: AddressHolder, address: Address): Promise<void> {
  const { workspaceId } = holder;
  await transaction(db, async (tx) => {
    const participantId = await holdHolder(tx, holder);
    if (!(await deleteAddress(tx, participantId, workspaceId, address))) throw notFound("address");
    await record(tx, by, "address.removed", { ...holder, participantId }, address);
  });
}

/** Recorded because a new address can redirect messages. The address itself is left out. */
function record(
  tx: PoolClient,
  by: Actor,
  action: string,
  { kind, participantId }: AddressHolder,
  { channel }: Address,
) {
  return recordAuditEvent(tx, by, { action, target: { type: kind, id: participantId }, details: { channel } });
}

async function holdHolder(tx: PoolClient, { workspaceId, participantId, kind }: AddressHolder): Promise<string> {
  await lockPeopleShared(tx, workspaceId);
  const living = (await resolveParticipants(tx, workspaceId, [participantId])).get(participantId);
  if (living?.kind !== kind) throw notFound(kind);
  return living.participantId;
}

export async function readAddresses(db: Db, participantId: string): Promise<string[]> {
  return (await listAddresses(db, [participantId])).map(formatAddress);
}
