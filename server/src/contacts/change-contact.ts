import { type Actor, recordAuditEvent } from "../audit/audit.ts";
import type { RequestDb } from "../database-roles.ts";
import { invalid, notFound, RequestError } from "../errors.ts";
import type { Clock } from "../lib/clock.ts";
import { type PoolClient, transaction } from "../lib/postgres.ts";
import { one, run } from "../lib/query.ts";
import { deleteAddresses, moveAddresses } from "./address-book.ts";
import { type Contact, getContact } from "./contact.ts";
import { lockPeopleExclusive, lockPeopleShared, resolveParticipants } from "./participants.ts";
import { type Metadata, mergeMetadata, requireName } from "./text.ts";

interface ContactChanges {
  display_name?: string;
  /** Merged key by key; null removes a key, or all of them. */
  metadata?: Metadata | null;
}

export async function changeContact(db: RequestDb, workspaceId: string, contactId: string, changes: ContactChanges) {
  return transaction(db, async (tx) => {
    await lockPeopleShared(tx, workspaceId);
    const id = await findContact(tx, workspaceId, contactId);
    if (changes.display_name !== undefined) await rename(tx, id, requireName(changes.display_name, "display_name"));
    if (changes.metadata !== undefined) {
      await setMetadata(tx, id, mergeMetadata(await lockMetadata(tx, id), changes.metadata));
    }
    return getContact(tx, workspaceId, id);
  });
}

/** Frees the addresses and keeps the messages. The contact leaves its groups, and stays in private conversations. */
export async function deleteContact(
  deps: { db: RequestDb; clock: Clock; leaveGroups: (tx: PoolClient, participantId: string) => Promise<void> },
  by: Actor,
  contactId: string,
): Promise<void> {
  const deletedAt = new Date(deps.clock.now());
  await transaction(deps.db, async (tx) => {
    await lockPeopleExclusive(tx, by.workspaceId);
    const id = await findContact(tx, by.workspaceId, contactId);
    await markDeleted(tx, id, deletedAt);
    await deleteAddresses(tx, id);
    await deps.leaveGroups(tx, id);
    await recordAuditEvent(tx, by, { action: "contact.deleted", target: { type: "contact", id } });
  });
}

interface MergeDeps {
  db: RequestDb;
  clock: Clock;
  /** Replaces `from` by `into` in every conversation; throws CONFLICT where that is impossible. */
  moveMemberships: (tx: PoolClient, from: string, into: string) => Promise<void>;
}

/** `into` takes over the addresses and conversations of `from`, whose id then refers to it. Safe to repeat. */
export async function mergeContacts(deps: MergeDeps, by: Actor, from: string, into: string): Promise<Contact> {
  const { workspaceId } = by;
  if (from === into) throw invalid("into is the same contact: name the other one.", { field: "into" });
  const deletedAt = new Date(deps.clock.now());
  return transaction(deps.db, async (tx) => {
    await lockPeopleExclusive(tx, workspaceId);
    const living = await resolveParticipants(tx, workspaceId, [from, into]);
    const [source, survivorRow] = [living.get(from), living.get(into)];
    if (source?.kind !== "contact") throw notFound("contact");
    if (survivorRow?.kind !== "contact") throw invalid("into is not a contact of this workspace.", { field: "into" });
    const { participantId: survivor } = survivorRow;
    if (source.participantId === survivor) {
      if (survivor === from) throw mergedAlready(into, from);
      return getContact(tx, workspaceId, survivor);
    }
    if (source.participantId !== from) throw mergedAlready(from, source.participantId);
    await moveAddresses(tx, from, survivor);
    await deps.moveMemberships(tx, from, survivor);
    await markMerged(tx, from, survivor);
    await markDeleted(tx, from, deletedAt);
    const contact = await getContact(tx, workspaceId, survivor);
    const target = { type: "contact", id: from };
    await recordAuditEvent(tx, by, { action: "contact.merged", target, details: { into: survivor } });
    return contact;
  });
}

function mergedAlready(from: string, into: string): RequestError {
  const details = { contact_id: from, merged_into: into };
  return new RequestError("CONFLICT", `The contact ${from} is already merged into ${into}.`, { details });
}

async function findContact(tx: PoolClient, workspaceId: string, contactId: string): Promise<string> {
  const living = (await resolveParticipants(tx, workspaceId, [contactId])).get(contactId);
  if (living?.kind !== "contact") throw notFound("contact");
  return living.participantId;
}

async function rename(tx: PoolClient, contactId: string, displayName: string): Promise<void> {
  await run(tx, "UPDATE participants SET display_name = $2 WHERE participant_id = $1", [contactId, displayName]);
}

async function lockMetadata(tx: PoolClient, contactId: string): Promise<Metadata> {
  const text = "SELECT metadata FROM contacts WHERE contact_id = $1 FOR NO KEY UPDATE";
  return (await one<{ metadata: Metadata }>(tx, text, [contactId])).metadata;
}

async function setMetadata(tx: PoolClient, contactId: string, metadata: Metadata): Promise<void> {
  await run(tx, "UPDATE contacts SET metadata = $2 WHERE contact_id = $1", [contactId, metadata]);
}

async function markDeleted(tx: PoolClient, contactId: string, deletedAt: Date): Promise<void> {
  await run(tx, "UPDATE participants SET deleted_at = $2 WHERE participant_id = $1", [contactId, deletedAt]);
}

/** Contacts that were merged into `from` follow, so that one step always leads to the survivor. */
async function markMerged(tx: PoolClient, from: string, into: string): Promise<void> {
  await run(tx, "UPDATE contacts SET merged_into = $2 WHERE contact_id = $1 OR merged_into = $1", [from, into]);
}
