import type { MessageStatus } from "../../../contract/src/messages.ts";
import type { Principal } from "../credentials/credentials.ts";
import { unknownCursor } from "../errors.ts";
import type { MessageId } from "../lib/ids.ts";
import { type OfPage, withinPage } from "../lib/page-bytes.ts";
import { isIdOf } from "../lib/partitions.ts";
import { all, type Db, isoTime } from "../lib/query.ts";
import { findMessage } from "./show.ts";

/** `delivery_id` is null for the message itself. */
interface AuditEntry {
  at: string;
  status: MessageStatus;
  delivery_id: string | null;
  channel: string | null;
  /** `routed`, `attempt 1 started`, `receipt`, `replayed`, an error's code … */
  cause: string;
}

interface TraceEntry {
  at: string;
  what: "accepted" | "routed" | "status" | "attempt" | "webhook" | "socket" | "webhook_endpoint";
  [detail: string]: unknown;
}

interface EntryQuery {
  limit: number;
  cursor?: string | undefined;
}

interface EntryPage<Entry> {
  data: Entry[];
  next_cursor: string | null;
}

export async function readAuditTrail(db: Db, principal: Principal, messageId: MessageId, query: EntryQuery) {
  await findMessage(db, principal, messageId);
  return readPage<AuditEntry>(db, auditEntries, [principal.workspaceId, messageId], query);
}

/** Oldest first. Contains no credential and no text of a message. */
export async function readTrace(db: Db, principal: Principal, messageId: MessageId, query: EntryQuery) {
  await findMessage(db, principal, messageId);
  return readPage<TraceEntry>(db, traceEntries, [principal.workspaceId, messageId], query);
}

/** `key` is the position of an entry: its time, and its rank within the same millisecond. */
async function readPage<Entry extends { at: string }>(
  db: Db,
  entries: string,
  message: readonly [workspaceId: string, messageId: MessageId],
  { limit, cursor }: EntryQuery,
): Promise<EntryPage<Entry>> {
  const select = `SELECT at, key, detail FROM (${entries}) AS entries
    WHERE key > $3 ORDER BY key LIMIT $4`;
  const rows = await all<{ at: string; key: string; detail: Omit<Entry, "at"> } & OfPage>(
    db,
    withinPage(select, { size: "100 + octet_length(detail::text)", order: "key" }),
    [...message, cursor === undefined ? "" : decodeCursor(cursor), limit + 1],
  );
  const shown = rows.slice(0, limit);
  const last = shown.at(-1);
  return {
    data: shown.map(({ at, detail }) => ({ at, ...detail }) as Entry),
    next_cursor: last?.more_follow ? Buffer.from(last.key).toString("base64url") : null,
  };
}

function decodeCursor(cursor: string): string {
  const key = Buffer.from(cursor, "base64url").toString();
  if (/^(\d{4}-\d\d-\d\dT[\d:.]{12}Z )?\d( [0-9a-f-]{1,100})?$/.test(key)) return key;
  throw unknownCursor();
}

const keyOf = (time: string, rank: number, tie: string) =>
  `${isoTime(time)} || ' ${rank} ' || (${tie})::text COLLATE "C"`;
const padded = (number: string) => `lpad(${number}::text, 19, '0')`;

const createdAt = "(SELECT created_at FROM messages WHERE message_id = $2 AND workspace_id = $1)";
/** SQL: whether a delivery `d` is of the message. */
const isOfMessage = `d.message_id = $2 AND d.workspace_id = $1 AND ${isIdOf("d.delivery_id", createdAt)}`;

/** Changes of a delivery in the order in which they were written: the clocks of two processes may differ a little. */
const changes = `
  delivered AS MATERIALIZED (
    SELECT d.*, delivery_history(d) AS entries FROM deliveries d WHERE ${isOfMessage}
  ),
  changes AS MATERIALIZED (
    SELECT d.delivery_id, d.recipient_id, d.channel, h.entry, ${padded("d.ordinal")} || '-' || ${padded("h.number")} AS place,
      max((h.entry ->> 'at')::timestamptz) OVER (PARTITION BY d.delivery_id ORDER BY h.number) AS at
    FROM delivered d CROSS JOIN LATERAL jsonb_array_elements(d.entries) WITH ORDINALITY AS h (entry, number)
  )`;

const auditEntries = `WITH ${changes}
  SELECT ${isoTime("created_at")} AS at, '0' AS key, json_build_object('status', 'accepted', 'delivery_id', NULL,
    'channel', NULL, 'cause', CASE direction WHEN 'inbound' THEN 'received' ELSE 'accepted' END) AS detail
  FROM messages WHERE message_id = $2 AND workspace_id = $1
  UNION ALL
  SELECT ${isoTime("at")}, ${keyOf("at", 1, "place")}, json_build_object('status', entry -> 'status',
    'delivery_id', delivery_id, 'channel', channel, 'cause', entry -> 'cause')
  FROM changes`;

/** Leaves out the body of an endpoint's response, which may contain anything. */
const traceEntries = `WITH ${changes},
  message AS (SELECT * FROM messages WHERE message_id = $2 AND workspace_id = $1)
  SELECT ${isoTime("created_at")} AS at, ${keyOf("created_at", 0, "'0'")} AS key, json_build_object('what', 'accepted',
    'direction', direction, 'from', sender_id, 'conversation_id', conversation_id, 'seq', seq, 'channels', channels,
    'route', origin -> 'route') AS detail
  FROM message
  UNION ALL
  SELECT ${isoTime("created_at")}, ${keyOf("created_at", 1, padded("ordinal"))}, json_build_object('what', 'routed',
    'delivery_id', delivery_id, 'recipient_id', recipient_id, 'channel', channel, 'identifier', identifier,
    'channel_account_id', channel_account_id, 'why', route)
  FROM delivered
  UNION ALL
  SELECT ${isoTime("at")}, ${keyOf("at", 1, "place || '-0'")}, json_build_object('what', 'socket',
    'delivery_id', delivery_id, 'recipient_id', recipient_id, 'user_id', entry -> 'user_id')
  FROM changes WHERE entry ? 'user_id'
  UNION ALL
  SELECT ${isoTime("at")}, ${keyOf("at", 1, "place || '-1'")},
    (entry - ARRAY['at', 'attempt_batch_id'] || jsonb_build_object('what', 'status', 'delivery_id', delivery_id, 'channel', channel)
      || CASE WHEN entry ? 'platform_at' THEN jsonb_build_object('platform_at', ${isoTime("(entry ->> 'platform_at')::timestamptz")})
        ELSE '{}' END)::json
  FROM changes
  UNION ALL
  SELECT ${isoTime("a.started_at")}, ${keyOf("a.started_at", 2, `${padded("a.number")} || '-' || a.delivery_id`)}, json_build_object(
    'what', 'attempt', 'finished_at', ${isoTime("a.finished_at")}, 'delivery_id', a.delivery_id, 'number', a.number,
    'outcome', a.outcome, 'exchanges', a.exchanges, 'error', a.error)
  FROM deliveries d CROSS JOIN LATERAL attempts_of(d) a WHERE ${isOfMessage}
  UNION ALL
  SELECT ${isoTime("received_at")}, ${keyOf("received_at", 3, "webhook_id")}, json_build_object('what', 'webhook',
    'webhook_id', webhook_id, 'channel_account_id', channel_account_id, 'size_bytes', coalesce(body_size, length(body)),
    'error', error)
  FROM webhooks WHERE workspace_id = $1 AND webhook_id IN (
    SELECT (entry ->> 'webhook_id')::uuid FROM changes UNION SELECT (origin ->> 'webhook_id')::uuid FROM message)
  UNION ALL
  SELECT ${isoTime("a.started_at")}, ${keyOf("a.started_at", 4, "a.attempt_id")}, json_build_object('what', 'webhook_endpoint',
    'webhook_endpoint_id', a.webhook_endpoint_id, 'webhook_id', a.webhook_delivery_id, 'event', a.event,
    'number', a.number, 'status', a.status, 'status_code', a.status_code, 'error', a.error, 'duration_ms', a.duration_ms)
  FROM webhook_deliveries d JOIN webhook_attempts a USING (webhook_delivery_id)
  WHERE d.message_id = $2 AND d.workspace_id = $1`;
