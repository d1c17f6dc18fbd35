import { type MemberInput, memberBounds } from "../../../contract/src/conversations.ts";
import { recordAuditEvent } from "../audit/audit.ts";
import { type ParseAddress, requireName } from "../contacts/contacts.ts";
import { type Principal, reachesContacts } from "../credentials/credentials.ts";
import type { RequestDb } from "../database-roles.ts";
import { forbidden, invalid, notFound, RequestError } from "../errors.ts";
import type { Clock } from "../lib/clock.ts";
import type { ConversationId } from "../lib/ids.ts";
import { type PoolClient, transaction } from "../lib/postgres.ts";
import { one, run } from "../lib/query.ts";
import {
  type Conversation,
  type ConversationSettings,
  type ConversationType,
  findConversation,
  type GroupInbound,
  loadConversation,
  memberIds,
  type StoredSettings,
} from "./conversation.ts";
import { insertMembers, requireInbound } from "./create-conversation.ts";
import { nameMember, resolveMembers } from "./resolve-members.ts";

interface ConversationChanges {
  title?: string | null;
  settings?: Partial<ConversationSettings>;
  inbound?: GroupInbound;
}

/** Throws FORBIDDEN for a member who names `inbound`, which decides where messages of contacts are placed. */
export async function changeConversation(
  db: RequestDb,
  principal: Principal,
  conversationId: ConversationId,
  { title, settings, inbound }: ConversationChanges,
): Promise<Conversation> {
  if (typeof title === "string") requireName(title, "title");
  return transaction(db, async (tx) => {
    const { type } = await findConversation(tx, principal, conversationId);
    if (inbound !== undefined) {
      if (!reachesContacts(principal))
        throw forbidden("Changing inbound requires the role `agent`.", { field: "inbound" });
      requireInbound(type);
      await mergeSettings(tx, conversationId, { inbound });
    }
    if (title !== undefined) await setTitle(tx, conversationId, title);
    if (settings !== undefined) await mergeSettings(tx, conversationId, settings);
    return loadConversation(tx, conversationId);
  });
}

/** VALIDATION_ERROR for a private or full conversation, or an unknown participant; CONFLICT for a member. */
export async function addMember(
  { db, clock, parseAddress }: { db: RequestDb; clock: Clock; parseAddress: ParseAddress },
  principal: Principal,
  conversationId: ConversationId,
  member: MemberInput,
): Promise<Conversation> {
  const named = nameMember(parseAddress, member, "member");
  return transaction(db, async (tx) => {
    await findConversation(tx, principal, conversationId);
    const [participantId] = (await resolveMembers({ db: tx, clock }, principal, [named])) as [string];
    requireGroup(await lockConversation(tx, conversationId));
    const members = await memberIds(tx, conversationId);
    if (members.includes(participantId)) throw memberAlready(participantId);
    if (members.length >= memberBounds.group.most) {
      throw invalid(`This group is full: it has ${memberBounds.group.most} members.`, { field: "member" });
    }
    await insertMembers(tx, { conversationId, participantIds: [participantId], joinedAt: new Date(clock.now()) });
    const changed = await loadConversation(tx, conversationId);
    await recordAuditEvent(tx, principal, memberEvent("member.added", conversationId, participantId));
    return changed;
  });
}

/** VALIDATION_ERROR for a private conversation, CONFLICT for the last member, RESOURCE_NOT_FOUND for others. */
export async function removeMember(
  db: RequestDb,
  principal: Principal,
  conversationId: ConversationId,
  participantId: string,
): Promise<void> {
  await transaction(db, async (tx) => {
    await findConversation(tx, principal, conversationId);
    requireGroup(await lockConversation(tx, conversationId));
    const members = await memberIds(tx, conversationId);
    if (!members.includes(participantId)) throw notFound("member");
    if (members.length === 1) throw new RequestError("CONFLICT", "The last member of a group cannot be removed.");
    await deleteMember(tx, conversationId, participantId);
    await recordAuditEvent(tx, principal, memberEvent("member.removed", conversationId, participantId));
  });
}

function memberEvent(action: string, conversationId: ConversationId, participantId: string) {
  return { action, target: { type: "conversation", id: conversationId }, details: { participant_id: participantId } };
}

function requireGroup(type: ConversationType): void {
  if (type === "private") throw invalid("The members of a private conversation cannot change: create a group instead.");
}

function memberAlready(participantId: string): RequestError {
  const details = { participant_id: participantId };
  return new RequestError("CONFLICT", `The participant ${participantId} is already a member.`, { details });
}

async function lockConversation(tx: PoolClient, conversationId: ConversationId): Promise<ConversationType> {
  const text = "SELECT type FROM conversations WHERE conversation_id = $1 FOR NO KEY UPDATE";
  return (await one<{ type: ConversationType }>(tx, text, [conversationId])).type;
}

async function setTitle(tx: PoolClient, conversationId: ConversationId, title: string | null): Promise<void> {
  await run(tx, "UPDATE conversations SET title = $2 WHERE conversation_id = $1", [conversationId, title]);
}

async function mergeSettings(tx: PoolClient, conversationId: ConversationId, settings: StoredSettings) {
  const text = "UPDATE conversations SET settings = settings || $2::jsonb WHERE conversation_id = $1";
  await run(tx, text, [conversationId, settings]);
}

async function deleteMember(tx: PoolClient, conversationId: ConversationId, participantId: string): Promise<void> {
  const text = "DELETE FROM members WHERE conversation_id = $1 AND participant_id = $2";
  await run(tx, text, [conversationId, participantId]);
}
