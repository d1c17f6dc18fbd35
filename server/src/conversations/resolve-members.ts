import type { MemberInput } from "../../../contract/src/conversations.ts";
import {
  type Address,
  findOrCreateContacts,
  lockPeopleShared,
  onlyUsers,
  type ParseAddress,
  requireName,
  requireUsersAt,
  resolveParticipants,
} from "../contacts/contacts.ts";
import { type Principal, reachesContacts } from "../credentials/credentials.ts";
import { invalid } from "../errors.ts";
import type { Clock } from "../lib/clock.ts";
import type { PoolClient } from "../lib/postgres.ts";

/** A valid input; whether the member exists is checked later. `field` is its place in the body. */
type NamedMember =
  | { kind: "id"; field: string; participantId: string }
  | { kind: "address"; field: string; address: Address; displayName: string | null };

/** Throws VALIDATION_ERROR, naming the field, for an invalid address. */
export function nameMember(parseAddress: ParseAddress, member: MemberInput, field: string): NamedMember {
  if (typeof member === "string") return { kind: "id", field, participantId: member.toLowerCase() };
  const { address, display_name } = member;
  const displayName = display_name === undefined ? null : requireName(display_name, `${field}.display_name`);
  return { kind: "address", field, address: parseAddress(address, `${field}.address`), displayName };
}

/**
 * The participants' ids, in the given order; creates contacts for free addresses. Locks people until the transaction
 * ends. Throws VALIDATION_ERROR, naming the field, for a member unknown in the workspace; FORBIDDEN when the caller may
 * not reach contacts and names one, or an unknown person: the error does not say which.
 */
export async function resolveMembers(
  { db, clock }: { db: PoolClient; clock: Clock },
  principal: Principal,
  members: NamedMember[],
): Promise<string[]> {
  const { workspaceId } = principal;
  const mayNameContacts = reachesContacts(principal);
  await lockPeopleShared(db, workspaceId);
  const named = members.filter((member) => member.kind === "address");
  const found = mayNameContacts
    ? await findOrCreateContacts({ db, clock }, workspaceId, named.map(toPerson(workspaceId)))
    : await requireUsersAt(db, workspaceId, named);
  const idOf = new Map<NamedMember, string>(named.map((member, index) => [member, found[index]!]));
  const ids = members.map((member) => (member.kind === "id" ? member.participantId : idOf.get(member)!));
  const living = await resolveParticipants(db, workspaceId, ids);
  return ids.map((id, index) => {
    const participant = living.get(id);
    const { field } = members[index]!;
    if (!mayNameContacts && (participant === undefined || participant.kind === "contact")) throw onlyUsers(field);
    if (participant === undefined) throw unknownParticipant(field, id);
    return participant.participantId;
  });
}

type AddressedMember = NamedMember & { kind: "address" };

function toPerson(workspaceId: string) {
  return ({ address, displayName }: AddressedMember) => ({ workspaceId, ...address, aliases: [], displayName });
}

function unknownParticipant(field: string, participantId: string) {
  return invalid(`${field}: there is no participant ${participantId} in this workspace.`, {
    field,
    participant_id: participantId,
  });
}
