import { isConnected } from "../../channel-accounts/channel-accounts.ts";
import { allPrepared, type Db, plainArray } from "../../lib/query.ts";
import type { Account, Recipient, RoutedMessage } from "./plan.ts";

export interface MessageToRoute extends RoutedMessage {
  workspaceId: string;
  messageId: string;
  conversationId: string;
  seq: number;
  createdAt: Date;
  /** The time of the first channel of a fallback order to deliver, in seconds. */
  fallbackAfterSeconds: number;
}

/** A record of `message_processing`: a message to route, or to route again for one recipient. */
export interface AcceptedRecord {
  workspaceId: string;
  messageId: string;
  retryOf?: NonNullable<RoutedMessage["retryOf"]>;
}

/** In the order of the records. */
export async function loadMessages(db: Db, records: readonly AcceptedRecord[]): Promise<MessageToRoute[]> {
  const rows = await allPrepared<MessageRow>(
    db,
    "load_messages_to_route",
    `SELECT m.workspace_id AS "workspaceId", m.message_id AS "messageId", m.conversation_id AS "conversationId", m.seq,
       m.sender_id AS "senderId", m.payload ->> 'type' AS "payloadType", m.channels, m.created_at AS "createdAt",
       m.options, r.place
     FROM unnest($1::uuid[], $2::uuid[]) WITH ORDINALITY AS r (workspace_id, message_id, place)
     JOIN messages m USING (workspace_id, message_id)
     ORDER BY r.place`,
    [plainArray(records.map((record) => record.workspaceId)), plainArray(records.map((record) => record.messageId))],
  );
  return rows.map(({ options, place, ...message }) => ({
    ...message,
    ...readOptions(options),
    retryOf: records[place - 1]!.retryOf ?? null,
  }));
}

type FromOptions = Pick<MessageToRoute, "via" | "fallbackOrder" | "fallbackAfterSeconds">;

interface MessageRow extends Omit<MessageToRoute, keyof FromOptions | "retryOf"> {
  options: StoredOptions | null;
  place: number;
}

/** The options of a message, as they are stored. */
export interface StoredOptions {
  via?: Record<string, string>;
  fallback?: { order: string[]; after_seconds?: number };
}

export function readOptions(options: StoredOptions | null): FromOptions {
  return {
    via: options?.via ?? {},
    fallbackOrder: options?.fallback?.order ?? null,
    fallbackAfterSeconds: options?.fallback?.after_seconds ?? 60,
  };
}

export interface KnownRecipient extends Recipient {
  conversationId: string;
}

export function loadRecipients(db: Db, conversationIds: readonly string[]): Promise<KnownRecipient[]> {
  return allPrepared(
    db,
    "load_recipients",
    `SELECT m.conversation_id AS "conversationId", ${recipientColumns}
     FROM members m JOIN participants p USING (participant_id)
     WHERE m.conversation_id = ANY ($1) AND p.deleted_at IS NULL ORDER BY m.conversation_id, m.ordinal`,
    [plainArray(conversationIds)],
  );
}

export interface Members {
  /** Sorted, deleted ones included. */
  ids: string[];
  recipients: Recipient[];
}

/** Of the conversations of the workspace that have at most so many members. */
export async function loadFewMembers(
  db: Db,
  workspaceId: string,
  conversationIds: readonly string[],
  most: number,
): Promise<Map<string, Members>> {
  const rows = await allPrepared<KnownRecipient & { isDeleted: boolean }>(
    db,
    "load_few_members",
    // In parts, so that no plan begins with all participants of the workspace, which the policies name.
    `SELECT m.conversation_id AS "conversationId", ${recipientColumns}, p.deleted_at IS NOT NULL AS "isDeleted"
     FROM unnest($1::uuid[]) AS c (conversation_id)
     CROSS JOIN LATERAL (
       SELECT *, count(*) OVER () AS known FROM (
         SELECT * FROM members m WHERE m.conversation_id = c.conversation_id LIMIT $3 + 1) few
     ) m
     CROSS JOIN LATERAL (SELECT * FROM participants p WHERE p.participant_id = m.participant_id OFFSET 0) p
     WHERE p.workspace_id = $2 AND m.known <= $3
     ORDER BY m.conversation_id, m.ordinal`,
    [plainArray(conversationIds), workspaceId, most],
  );
  const members = new Map<string, Members>();
  for (const [conversationId, theirs] of Map.groupBy(rows, (row) => row.conversationId)) {
    const ids = theirs.map((row) => row.participantId).sort();
    members.set(conversationId, { ids, recipients: theirs.filter((row) => !row.isDeleted) });
  }
  return members;
}

/** SQL: a `Recipient` of a participant `p`. */
export const recipientColumns = `p.participant_id AS "participantId", p.kind, coalesce((
  SELECT json_agg(json_build_object('channel', a.channel, 'identifier', a.identifier,
    'lastReceivedAt', extract(epoch FROM a.last_heard_at) * 1000, 'lastChannelAccountId', a.last_channel_account_id)
    ORDER BY a.ordinal)
  FROM addresses a WHERE a.participant_id = p.participant_id
), '[]') AS addresses`;

export function loadAccounts(db: Db, workspaceIds: readonly string[]): Promise<(Account & { workspaceId: string })[]> {
  return allPrepared(
    db,
    "load_accounts",
    `SELECT workspace_id AS "workspaceId", channel_account_id AS "channelAccountId", channel, status = 'active' AS "isActive"
     FROM channel_accounts
     WHERE workspace_id = ANY ($1) AND ${isConnected} ORDER BY created_at, channel_account_id`,
    [plainArray(workspaceIds)],
  );
}
