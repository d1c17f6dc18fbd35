import type { Delivery, InboundRoute, Message, MessageFile, MessageStatus } from "../../../contract/src/messages.ts";
import { formatAddress } from "../contacts/contacts.ts";
import { type Principal, seesAddressesOf, seesAllConversations, type Viewer } from "../credentials/credentials.ts";
import { notFound } from "../errors.ts";
import { isDurable } from "../lib/early-commit.ts";
import { type ChannelAccountId, firstIdAt, lastIdAt, type MessageId } from "../lib/ids.ts";
import { all, allPrepared, type Db, maybe } from "../lib/query.ts";

export interface MessageRow {
  message_id: string;
  workspace_id: string;
  conversation_id: string;
  seq: number;
  sender_id: string;
  direction: "outbound" | "inbound";
  payload: unknown;
  channels: string | null;
  reply_to: string | null;
  route: InboundRoute | null;
  metadata: Record<string, unknown> | null;
  created_at: Date;
}

export interface DeliveryRow {
  delivery_id: string;
  message_id: string;
  recipient_id: string;
  channel: string;
  identifier: string | null;
  channel_account_id: ChannelAccountId | null;
  status: MessageStatus;
  provider_message_ids: string[] | null;
  attempts: number;
  error: { code: string; message: string } | null;
  next_attempt_at: Date | null;
  sent_at: Date | null;
  delivered_at: Date | null;
  read_at: Date | null;
  failed_at: Date | null;
}

export const messageColumns = `message_id, workspace_id, conversation_id, seq, sender_id, direction, payload, channels,
  reply_to, origin ->> 'route' AS route, metadata, created_at`;

/** SQL: the approximate size of a message `m` in a response, without its deliveries, in bytes. */
export const messageBytes = "(500 + octet_length(m.payload::text) + coalesce(octet_length(m.metadata::text), 0))";

/** SQL: the approximate size of a delivery `d` in a response, in bytes. */
export const deliveryBytes = `(550 + coalesce(octet_length(d.error::text), 0)
  + coalesce(octet_length(array_to_string(d.provider_message_ids, ',')), 0))`;

/** With their deliveries, in the order of the rows. The caller has checked the access. */
export async function showMessages(db: Db, viewer: Viewer, rows: readonly MessageRow[]): Promise<Message[]> {
  if (rows.length === 0) return [];
  const deliveries = await allPrepared<DeliveryRow>(
    db,
    "deliveries_of_messages",
    `SELECT delivery_id, message_id, recipient_id, channel, identifier, channel_account_id, status,
       provider_message_ids, attempts, coalesce(${whyHeld}, error) AS error, next_attempt_at, sent_at, delivered_at, read_at, failed_at
     FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[]) AS i (of_workspace, id, first, last)
     CROSS JOIN LATERAL (
       SELECT * FROM deliveries d
       WHERE d.workspace_id = of_workspace AND d.message_id = id AND d.delivery_id BETWEEN first AND last OFFSET 0
     ) deliveries ORDER BY ordinal`,
    [
      rows.map((row) => row.workspace_id),
      rows.map((row) => row.message_id),
      rows.map((row) => firstIdAt(row.created_at.getTime())),
      rows.map((row) => lastIdAt(row.created_at.getTime())),
    ],
  );
  const byMessage = Map.groupBy(deliveries, (delivery) => delivery.message_id);
  const files = await filesOf(db, rows);
  return rows.map((row) => ({
    ...showMessage(viewer, row, byMessage.get(row.message_id) ?? []),
    file: files.get(fileIdOf(row) ?? "") ?? null,
  }));
}

/** By id: what is sent in these messages, which the caller may read. */
async function filesOf(db: Db, rows: readonly MessageRow[]): Promise<Map<string, MessageFile>> {
  const ids = [...new Set(rows.flatMap((row) => fileIdOf(row) ?? []))];
  if (ids.length === 0) return new Map();
  const files = await all<MessageFile>(
    db,
    `SELECT file_id, filename, bytes AS size, CASE WHEN completed_at IS NOT NULL THEN content_type END AS content_type, status
     FROM files WHERE workspace_id = $1 AND file_id = ANY ($2)`,
    [rows[0]!.workspace_id, ids],
  );
  return new Map(files.map((file) => [file.file_id, file]));
}

function fileIdOf({ payload }: MessageRow): string | null {
  const { type, file_id = null } = payload as { type: string; file_id?: string };
  return type === "file" ? file_id : null;
}

/** RESOURCE_NOT_FOUND when absent, of another workspace, or of a conversation without the caller. */
export async function readMessage(db: Db, principal: Principal, messageId: MessageId): Promise<Message> {
  const [message] = await showMessages(db, principal, [await findMessage(db, principal, messageId)]);
  return message!;
}

interface FoundMessage extends MessageRow {
  origin: Record<string, unknown> | null;
}

export async function findMessage(db: Db, principal: Principal, messageId: MessageId): Promise<FoundMessage> {
  const row = await maybe<FoundMessage>(
    db,
    `SELECT ${messageColumns}, origin, ${isDurable} FROM messages m
     WHERE workspace_id = $1 AND message_id = $2 AND ($3 OR EXISTS (
       SELECT FROM members WHERE members.conversation_id = m.conversation_id AND participant_id = $4))`,
    [principal.workspaceId, messageId, seesAllConversations(principal), principal.participantId],
  );
  if (row === null) throw notFound("message");
  return row;
}

/** SQL: why the account of an unsent delivery cannot send it; null when it can. */
const whyHeld = `CASE WHEN is_pending THEN (
  SELECT CASE a.status
    WHEN 'needs_attention' THEN '{"code": "CHANNEL_ACCOUNT_NEEDS_ATTENTION", "message":
      "The platform refuses the channel account. The message is sent when an admin has repaired the account."}'::jsonb
    WHEN 'disabled' THEN '{"code": "CHANNEL_ACCOUNT_DISABLED", "message":
      "The channel account is disabled. The message is sent when an admin has enabled the account."}'::jsonb END
  FROM channel_accounts a WHERE a.channel_account_id = deliveries.channel_account_id AND a.deleted_at IS NULL) END`;

function showMessage(viewer: Viewer, row: MessageRow, deliveries: readonly DeliveryRow[]): Omit<Message, "file"> {
  return {
    message_id: row.message_id,
    conversation_id: row.conversation_id,
    seq: row.seq,
    from: row.sender_id,
    direction: row.direction,
    payload: row.payload,
    channels: row.channels === "*" ? ["all"] : (row.channels?.split(",") ?? null),
    reply_to: row.reply_to,
    route: row.route,
    status: overallStatus(deliveries.map((delivery) => delivery.status)),
    metadata: row.metadata,
    created_at: row.created_at.toISOString(),
    deliveries: deliveries.map((delivery) => showDelivery(delivery, viewer)),
  };
}

/** A platform's ids are hidden with the address: WhatsApp's contain the number. */
export function showDelivery(row: DeliveryRow, viewer: Viewer): Delivery {
  const isAddressShown = seesAddressesOf(viewer, row.recipient_id);
  const providerIds = isAddressShown ? (row.provider_message_ids ?? []) : [];
  return {
    delivery_id: row.delivery_id,
    recipient: row.recipient_id,
    channel: row.channel,
    address:
      row.identifier === null || !isAddressShown
        ? null
        : formatAddress({ channel: row.channel, identifier: row.identifier }),
    channel_account_id: row.channel_account_id,
    status: row.status,
    provider_message_id: providerIds[0] ?? null,
    provider_message_ids: providerIds,
    attempts: row.attempts,
    error: row.error,
    next_attempt_at: iso(row.next_attempt_at),
    sent_at: iso(row.sent_at),
    delivered_at: iso(row.delivered_at),
    read_at: iso(row.read_at),
    failed_at: iso(row.failed_at),
  };
}

const rungs: readonly MessageStatus[] = ["accepted", "in_transit", "sent", "delivered", "read"];

/** The least advanced of those that did not fail; `failed` when all did; `accepted` before any exists. */
function overallStatus(statuses: readonly MessageStatus[]): MessageStatus {
  if (statuses.length === 0) return "accepted";
  const alive = statuses.filter((status) => status !== "failed");
  if (alive.length === 0) return "failed";
  return rungs[Math.min(...alive.map((status) => rungs.indexOf(status)))]!;
}

function iso(time: Date | null): string | null {
  return time === null ? null : time.toISOString();
}
