import { type MemberInput, memberBounds } from "../../../contract/src/conversations.ts";
import { type ParseAddress, requireName } from "../contacts/contacts.ts";
import { type Principal, seesAllConversations } from "../credentials/credentials.ts";
import type { RequestDb } from "../database-roles.ts";
import { forbidden, invalid } from "../errors.ts";
import type { Clock } from "../lib/clock.ts";
import { type ConversationId, newId } from "../lib/ids.ts";
import { transaction } from "../lib/postgres.ts";
import { type Db, run } from "../lib/query.ts";
import {
  type Conversation,
  type ConversationSettings,
  type ConversationType,
  type GroupInbound,
  loadConversation,
  type StoredSettings,
} from "./conversation.ts";
import { lockPrivate } from "./direct.ts";
import { nameMember, resolveMembers } from "./resolve-members.ts";

interface ConversationInput {
  type: ConversationType;
  title?: string | null;
  settings?: Partial<ConversationSettings>;
  inbound?: GroupInbound;
  members: MemberInput[];
}

/**
 * Creates a conversation, or returns the private one of the same two. An API key that names one other participant adds
 * the workspace, or the member who created the key. All or nothing: with an unknown member no contact is created.
 * Throws VALIDATION_ERROR for a wrong number of members, a member named twice or unknown in the workspace; FORBIDDEN
 * when a caller with the role member is not among them, or names anyone but users.
 */
export async function createConversation(
  { db, clock, parseAddress }: { db: RequestDb; clock: Clock; parseAddress: ParseAddress },
  principal: Principal,
  given: ConversationInput,
): Promise<{ conversation: Conversation; isNew: boolean }> {
  const input = withCaller(principal, given);
  requireCount(principal, input);
  const { type, inbound } = input;
  if (inbound !== undefined) requireInbound(type);
  const { workspaceId } = principal;
  const title = input.title == null ? null : requireName(input.title, "title");
  const named = input.members.map((member, index) => nameMember(parseAddress, member, `members.${index}`));
  const nowMs = clock.now();
  const [conversationId, createdAt] = [newId<ConversationId>(nowMs), new Date(nowMs)];
  return transaction(db, async (tx) => {
    const participantIds = await resolveMembers({ db: tx, clock }, principal, named);
    requireDistinct(participantIds);
    if (!seesAllConversations(principal) && !participantIds.includes(principal.participantId)) {
      throw forbidden(
        `You can create only conversations that you are in: add ${principal.participantId} to the members.`,
      );
    }
    const known =
      type === "private" ? await lockPrivate(tx, workspaceId, [participantIds[0]!, participantIds[1]!]) : null;
    if (known !== null) return { conversation: await loadConversation(tx, known), isNew: false };
    const settings: StoredSettings = { ...input.settings, ...(inbound !== undefined && { inbound }) };
    await run(
      tx,
      `INSERT INTO conversations (conversation_id, workspace_id, type, title, settings, created_at, active_at)
       VALUES ($1, $2, $3, $4, $5, $6, $6)`,
      [conversationId, workspaceId, type, title, settings, createdAt],
    );
    await insertMembers(tx, { conversationId, participantIds, joinedAt: createdAt });
    return { conversation: await loadConversation(tx, conversationId), isNew: true };
  });
}

/** Earlier messages count as read. */
export async function insertMembers(
  db: Db,
  {
    conversationId,
    participantIds,
    joinedAt,
  }: { conversationId: ConversationId; participantIds: string[]; joinedAt: Date },
): Promise<void> {
  await run(
    db,
    `INSERT INTO members (conversation_id, participant_id, read_seq, joined_at)
     SELECT conversation_id, participant_id, last_seq, $3
     FROM conversations, unnest($2::uuid[]) WITH ORDINALITY AS p (participant_id, place)
     WHERE conversation_id = $1 ORDER BY place`,
    [conversationId, participantIds, joinedAt],
  );
}

/** Throws VALIDATION_ERROR for a private conversation, which has no `inbound`. */
export function requireInbound(type: ConversationType): void {
  if (type === "group") return;
  throw invalid("Only groups can have inbound. Leave it out for a private conversation.", { field: "inbound" });
}

function withCaller({ kind, participantId }: Principal, input: ConversationInput): ConversationInput {
  const isAlone = kind === "api_key" && input.type === "private" && input.members.length === 1;
  return isAlone ? { ...input, members: [participantId, ...input.members] } : input;
}

function requireCount({ kind, participantId }: Principal, { type, members }: ConversationInput): void {
  const { least, most } = memberBounds[type];
  if (members.length >= least && members.length <= most) return;
  const right = least === most ? `exactly ${least}` : `${least} to ${most}`;
  const hint =
    type === "private" && members.length === 1 && kind === "user"
      ? ` Add yourself (${participantId}) or another participant. Only an API key that names one other participant is added automatically.`
      : "";
  throw invalid(`A ${type} conversation has ${right} members; you named ${members.length}.${hint}`, {
    field: "members",
  });
}

function requireDistinct(participantIds: string[]): void {
  const again = participantIds.findIndex((id, index) => participantIds.indexOf(id) !== index);
  if (again < 0) return;
  throw invalid(`members.${again} is the participant ${participantIds[again]}, who is named twice.`, {
    field: `members.${again}`,
    participant_id: participantIds[again],
  });
}
