import type { BusRecord } from "../../bus/bus.ts";
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
export async function loadMessages(
  db: Db,
  records: readonly Pick<BusRecord<AcceptedRecord>, "value">[],
): Promise<MessageToRoute[]> {
  const rows = await allPrepared<MessageRow>(
    db,
    "load_messages_to_route",
    `SELECT m.workspace_id AS "workspaceId", m.message_id AS "messageId", m.conversation_id AS "conversationId", m.seq,
       m.sender_id AS "senderId", m.payload ->> 'type' AS "payloadType", m.channels, m.created_at AS "createdAt",
       m.options, r.place
     FROM unnest($1::uuid[], $2::uuid[]) WITH ORDINALITY AS r (workspace_id, message_id, place)
     JOIN messages m USING (workspace_id, message_id)
     ORDER BY r.place`,
    [
      plainArray(records.map((record) => record.value.workspaceId)),
      plainArray(records.map((record) => record.value.messageId)),
    ],
  );
  return rows.map(({ options, place, ...message }) => ({
    ...message,
    ...readOptions(options),
    retryOf: records[place - 1]!.value.retryOf ?? null,
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

export async function loadRecipients(
  db: Db,
  conversationIds: readonly string[],
): Promise<(Recipient & { conversationId: string })[]> {
  const rows = await allPrepared<RecipientRow>(
    db,
    "load_recipients",
    `SELECT ${recipientColumns} FROM members m JOIN participants p USING (participant_id)
     WHERE m.conversation_id = ANY ($1) AND p.deleted_at IS NULL ORDER BY m.conversation_id, m.ordinal`,
    [plainArray(conversationIds)],
  );
  return rows.map((row) => ({ conversationId: row.conversation_id, ...toRecipient(row) }));
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
  const rows = await allPrepared<RecipientRow & { is_deleted: boolean }>(
    db,
    "load_few_members",
    // In parts, so that no plan begins with all participants of the workspace, which the policies name.
    `SELECT ${recipientColumns}, p.deleted_at IS NOT NULL AS is_deleted
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
  for (const [conversationId, theirs] of Map.groupBy(rows, (row) => row.conversation_id)) {
    const recipients = theirs.filter((row) => !row.is_deleted).map(toRecipient);
    members.set(conversationId, { ids: theirs.map((row) => row.participant_id).sort(), recipients });
  }
  return members;
}

const recipientColumns = `m.conversation_id, m.participant_id, p.kind, (
  SELECT json_agg(json_build_array(a.channel, a.identifier, extract(epoch FROM a.last_heard_at) * 1000,
    a.last_channel_account_id) ORDER BY a.ordinal)
  FROM addresses a WHERE a.participant_id = m.participant_id
) AS addresses`;

interface RecipientRow {
  conversation_id: string;
  participant_id: string;
  kind: Recipient["kind"];
  addresses: [string, string, number | null, string | null][] | null;
}

function toRecipient(row: RecipientRow): Recipient {
  return {
    participantId: row.participant_id,
    kind: row.kind,
    addresses: (row.addresses ?? []).map(([channel, identifier, lastReceivedAt, lastChannelAccountId]) => ({
      channel,
      identifier,
      lastReceivedAt,
      lastChannelAccountId,
    })),
  };
}

export async function loadAccounts(
  db: Db,
  workspaceIds: readonly string[],
): Promise<(Account & { workspaceId: string })[]> {
  return allPrepared(
    db,
    "load_accounts",
    `SELECT workspace_id AS "workspaceId", channel_account_id AS "channelAccountId", channel, status = 'active' AS "isActive"
     FROM channel_accounts
     WHERE workspace_id = ANY ($1) AND ${isConnected} ORDER BY created_at, channel_account_id`,
    [plainArray(workspaceIds)],
  );
}
