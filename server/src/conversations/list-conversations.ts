import { resolveParticipants } from "../contacts/contacts.ts";
import { type Principal, seesAllConversations } from "../credentials/credentials.ts";
import { type OfPage, type PageRequest, withinPage } from "../lib/page-bytes.ts";
import { all, type Db } from "../lib/query.ts";
import { type Activity, loadActivities } from "./activity.ts";
import {
  type Conversation,
  type ConversationRow,
  conversationBytes,
  selectConversations,
  withMembers,
} from "./conversation.ts";

interface ConversationQuery extends PageRequest {
  /** Conversations of this contact or participant. The id of a merged contact stands for the survivor. */
  contactId?: string | undefined;
  participantId?: string | undefined;
  channel?: string | undefined;
  updatedAfter?: Date | undefined;
  sort: ConversationSort;
}

type ConversationSort = "activity" | "created";
export type ListedConversation = Conversation & Activity & OfPage;

/** Newest first, a page, and one more than `limit` if another follows. */
export async function listConversations(
  db: Db,
  principal: Principal,
  query: ConversationQuery,
): Promise<ListedConversation[]> {
  const people = await peopleOf(db, principal, query);
  if (people === null) return [];
  const rows = await findRows(db, principal.workspaceId, people, query);
  const [conversations, activities] = [await withMembers(db, rows), await loadActivities(db, principal, rows)];
  return conversations.map((conversation, index) => ({
    ...conversation,
    ...activities.get(conversation.conversationId)!,
    more_follow: rows[index]!.more_follow,
  }));
}

async function peopleOf(
  db: Db,
  principal: Principal,
  { contactId, participantId }: ConversationQuery,
): Promise<string[] | null> {
  const people = seesAllConversations(principal) ? [] : [principal.participantId];
  const asked = [contactId, participantId].flatMap((id) => id ?? []);
  if (asked.length === 0) return people;
  const living = await resolveParticipants(db, principal.workspaceId, asked);
  if (contactId !== undefined && living.get(contactId)?.kind !== "contact") return null;
  if (!asked.every((id) => living.has(id))) return null;
  return [...new Set([...people, ...asked.map((id) => living.get(id)!.participantId)])];
}

/** Each set of filters is a separate statement with its own plan. */
function findRows(
  db: Db,
  workspaceId: string,
  people: readonly string[],
  { channel, updatedAfter, sort, limit, after }: ConversationQuery,
): Promise<(ConversationRow & OfPage)[]> {
  const values: unknown[] = [workspaceId];
  const bind = (value: unknown) => `$${values.push(value)}`;
  const [first, ...others] = people;
  const conditions = ["c.workspace_id = $1"];
  if (first !== undefined) conditions.push(`one.participant_id = ${bind(first)}`);
  for (const person of others) {
    conditions.push(`EXISTS (SELECT FROM members m
      WHERE m.conversation_id = c.conversation_id AND m.participant_id = ${bind(person)})`);
  }
  if (channel !== undefined) {
    conditions.push(`EXISTS (SELECT FROM members m JOIN addresses a USING (participant_id)
      WHERE m.conversation_id = c.conversation_id AND a.channel = ${bind(channel)})`);
  }
  if (updatedAfter !== undefined) {
    const place = bind(updatedAfter);
    conditions.push(`c.active_minute >= ${minuteOf(place)} AND c.active_at > ${place}`);
  }
  if (after !== undefined) conditions.push(beyond(sort, bind(after.at), bind(after.id)));
  const rows = `${selectConversations} ${first === undefined ? "" : "JOIN members one USING (conversation_id)"}
     WHERE ${conditions.join(" AND ")}
     ORDER BY ${orders[sort].read} LIMIT ${bind(limit + 1)}`;
  return all(db, withinPage(rows, { size: conversationBytes, order: orders[sort].page }), values);
}

/** `read`: the order of the index, by minute first. `page`: the same order over the columns read. */
const orders: Record<ConversationSort, { read: string; page: string }> = {
  created: {
    read: "c.created_at DESC, c.conversation_id DESC",
    page: '"createdAt" DESC, "conversationId" DESC',
  },
  activity: {
    read: "c.active_minute DESC, c.active_at DESC, c.conversation_id DESC",
    page: '"activeAt" DESC, "conversationId" DESC',
  },
};

function beyond(sort: ConversationSort, at: string, id: string): string {
  if (sort === "created") return `(c.created_at, c.conversation_id) < (${at}::timestamptz, ${id}::uuid)`;
  return `c.active_minute <= ${minuteOf(at)} AND (c.active_at, c.conversation_id) < (${at}, ${id}::uuid)`;
}

/** As in the column `active_minute`, in a wider type: the minute of the year 9999 is beyond `integer`. */
function minuteOf(time: string): string {
  return `floor(extract(epoch FROM ${time}::timestamptz) / 60)::bigint`;
}
