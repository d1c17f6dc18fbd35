import { describeParticipants, type Participant, showParticipant } from "../contacts/contacts.ts";
import { type Principal, seesAllConversations, type Viewer } from "../credentials/credentials.ts";
import { notFound } from "../errors.ts";
import type { ConversationId } from "../lib/ids.ts";
import { all, type Db, maybe } from "../lib/query.ts";

export type ConversationType = "private" | "group";

export interface ConversationSettings {
  /** Whether, in a group, messages to members on other channels begin with the author's name. */
  author_prefix: boolean;
}

/**
 * Which inbound messages a group gets. `here`: quotes of it, and others of people to whom it last wrote. `quoted`:
 * quotes.
 */
export type GroupInbound = "here" | "quoted";

const defaultSettings: ConversationSettings = { author_prefix: true };

export type StoredSettings = Partial<ConversationSettings> & { inbound?: GroupInbound; continued_in?: string };

export interface ConversationRow {
  conversationId: ConversationId;
  type: ConversationType;
  title: string | null;
  settings: StoredSettings;
  lastSeq: number;
  createdAt: Date;
  /** When its last message was accepted, or else when it was created. */
  activeAt: Date;
}

export interface Conversation extends Omit<ConversationRow, "settings"> {
  settings: ConversationSettings;
  inbound: GroupInbound | null;
  /** The private conversation of the same two that replaces this one since contacts were merged. */
  continuedIn: string | null;
  members: Participant[];
}

/** A member finds its own conversations, an agent all of its workspace. Throws RESOURCE_NOT_FOUND for every other. */
export async function findConversation(
  db: Db,
  principal: Principal,
  conversationId: ConversationId,
): Promise<ConversationRow> {
  const row = await maybe<ConversationRow>(
    db,
    `${selectConversations}
     WHERE c.workspace_id = $1 AND c.conversation_id = $2 AND ($3::uuid IS NULL OR EXISTS (
       SELECT FROM members m WHERE m.conversation_id = c.conversation_id AND m.participant_id = $3))`,
    [principal.workspaceId, conversationId, seesAllConversations(principal) ? null : principal.participantId],
  );
  if (row === null) throw notFound("conversation");
  return row;
}

export async function getConversation(
  db: Db,
  principal: Principal,
  conversationId: ConversationId,
): Promise<Conversation> {
  const [conversation] = await withMembers(db, [await findConversation(db, principal, conversationId)]);
  return conversation!;
}

/** Without a check of access. */
export async function loadConversation(db: Db, conversationId: ConversationId): Promise<Conversation> {
  const [conversation] = await loadConversations(db, [conversationId]);
  if (conversation === undefined) throw notFound("conversation");
  return conversation;
}

/** In no order, without a check of access; leaves out unknown ones. */
export async function loadConversations(db: Db, conversationIds: readonly string[]): Promise<Conversation[]> {
  const text = `${selectConversations} WHERE c.conversation_id = ANY ($1)`;
  return withMembers(db, await all<ConversationRow>(db, text, [conversationIds]));
}

/** The approximate sizes of conversations in a response, in bytes, by id. */
export async function readLengths(db: Db, conversationIds: readonly string[]): Promise<Map<string, number>> {
  const rows = await all<{ id: string; bytes: number }>(
    db,
    `SELECT "conversationId" AS id, ${conversationBytes} AS bytes FROM unnest($1::uuid[]) AS c ("conversationId")`,
    [conversationIds],
  );
  return new Map(rows.map(({ id, bytes }) => [id, bytes]));
}

/** The caller has checked that the viewer may see the conversation. */
export function showConversation(conversation: Conversation, viewer: Viewer) {
  const { conversationId, type, title, members, lastSeq, settings, inbound } = conversation;
  return {
    conversation_id: conversationId,
    type,
    title,
    members: members.map((member) => showParticipant(member, viewer)),
    last_seq: lastSeq,
    settings,
    inbound,
    continued_in: conversation.continuedIn,
    created_at: conversation.createdAt.toISOString(),
    updated_at: conversation.activeAt.toISOString(),
  };
}

export async function memberIds(db: Db, conversationId: ConversationId): Promise<string[]> {
  return (await selectMembers(db, [conversationId])).map((member) => member.participantId);
}

export async function withMembers(db: Db, rows: ConversationRow[]): Promise<Conversation[]> {
  const ids = rows.map((row) => row.conversationId);
  const members = await selectMembers(db, ids);
  const participants = await describeParticipants(
    db,
    members.map((member) => member.participantId),
  );
  const byConversation = Map.groupBy(members, (member) => member.conversationId);
  return rows.map(({ settings: { inbound = "here", continued_in = null, ...settings }, ...row }) => ({
    ...row,
    settings: { ...defaultSettings, ...settings },
    inbound: row.type === "group" ? inbound : null,
    continuedIn: continued_in,
    members: (byConversation.get(row.conversationId) ?? []).map((member) => participants.get(member.participantId)!),
  }));
}

function selectMembers(
  db: Db,
  conversationIds: string[],
): Promise<{ conversationId: ConversationId; participantId: string }[]> {
  return all(
    db,
    `SELECT conversation_id AS "conversationId", participant_id AS "participantId"
     FROM members WHERE conversation_id = ANY ($1) ORDER BY conversation_id, ordinal`,
    [conversationIds],
  );
}

/** SQL over its row: the approximate size in a response, with members and last message, in bytes. */
export const conversationBytes = `(1500 + coalesce((
  SELECT sum(160 + octet_length(p.display_name) + coalesce((
    SELECT sum(30 + octet_length(a.identifier)) FROM addresses a WHERE a.participant_id = p.participant_id), 0))
  FROM members m JOIN participants p USING (participant_id) WHERE m.conversation_id = "conversationId"), 0))::bigint`;

export const selectConversations = `
  SELECT c.conversation_id AS "conversationId", c.type, c.title, c.settings, c.last_seq AS "lastSeq",
    c.created_at AS "createdAt", c.active_at AS "activeAt"
  FROM conversations c`;

/** SQL: whether unquoted messages may be placed there. False for a group with `inbound: "quoted"`. */
export function takesUnquoted(idSql: string): string {
  return `coalesce((SELECT NOT c.settings @> '{"inbound": "quoted"}' FROM conversations c
    WHERE c.conversation_id = ${idSql}), true)`;
}

/** SQL: the id of the conversation that replaces this one since contacts were merged; else its own. */
export function continuationOf(idSql: string): string {
  return `coalesce((SELECT (c.settings ->> 'continued_in')::uuid FROM conversations c
    WHERE c.conversation_id = ${idSql}), ${idSql})`;
}
