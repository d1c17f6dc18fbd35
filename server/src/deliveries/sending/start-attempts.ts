import type { MessagePayload } from "../../../../contract/src/payloads.ts";
import type { Capabilities } from "../../connectors/connector.ts";
import { publishStatuses } from "../../events/events.ts";
import { queryEarly } from "../../lib/early-commit.ts";
import { isIdOf } from "../../lib/partitions.ts";
import type { Pool } from "../../lib/postgres.ts";
import { all, type Db, plainArray } from "../../lib/query.ts";

/** Proof that this process may still send for a partition. */
export interface Fence {
  topic: string;
  group: string;
  ownerId: string;
}

export interface StartedDelivery {
  kind: "started";
  deliveryId: string;
  workspaceId: string;
  messageId: string;
  identifier: string;
  channelAccountId: string;
  attempt: number;
  startedAt: Date;
  /** Since its first attempt or its replay, by the database's clock. */
  retriedForMs: number;
  sentParts: readonly string[];
  payload: MessagePayload;
  author: string | null;
  quotedProviderMessageId: string | null;
  targetProviderMessageId: string | null;
}

/** Bytes that an author's name adds to a text: 200 characters of up to 4 bytes, and `: `. */
const authorRoom = 802;

/** A text of more bytes may be sent in several parts, and so may a file with its caption. */
export function onePartBytes({ maxTextLength }: Pick<Capabilities, "maxTextLength">): number {
  return maxTextLength - authorRoom;
}

/** `over`: nothing is left to send. `fenced`: another process owns its partition, or has an attempt under way. */
export type Start = StartedDelivery | { kind: "over" | "fenced" };

/**
 * Records attempts before their requests, and reads what to send. One result for each id, in order. The platform id of the
 * quoted message or reaction target is read too, if that was sent in the same lane.
 */
export async function startAttempts(
  db: Pool,
  fence: Fence,
  deliveryIds: readonly string[],
  now: Date,
  partBytes: number,
): Promise<Start[]> {
  const { rows } = await queryEarly<Omit<StartedDelivery, "sentParts"> & { sentParts: string[] | null }>(db, {
    name: "start_attempts",
    text: statement,
    values: [plainArray(deliveryIds.toSorted()), now, fence.topic, fence.group, fence.ownerId, partBytes],
  });
  const started = new Map(rows.map((row) => [row.deliveryId, row]));
  const others = deliveryIds.filter((deliveryId) => !started.has(deliveryId));
  const pending = others.length === 0 ? new Set() : await findPending(db, others);
  return deliveryIds.map((deliveryId) => {
    const row = started.get(deliveryId);
    if (row !== undefined) return { ...row, kind: "started", startedAt: now, sentParts: row.sentParts ?? [] };
    return { kind: pending.has(deliveryId) ? "fenced" : "over" };
  });
}

async function findPending(db: Db, deliveryIds: readonly string[]): Promise<Set<string>> {
  const text = "SELECT delivery_id FROM deliveries WHERE delivery_id = ANY ($1) AND is_pending";
  return new Set((await all<{ delivery_id: string }>(db, text, [deliveryIds])).map((row) => row.delivery_id));
}

// The platform's id of another message in this lane: of our delivery, or of a message of the person.
const idInLane = (messageId: string) => `(
  SELECT coalesce(
    (SELECT o.id FROM messages q CROSS JOIN LATERAL (
       SELECT d.provider_message_ids[1] AS id FROM deliveries d
       WHERE d.message_id = q.message_id AND d.lane_id = s.lane_id AND ${isIdOf("d.delivery_id", "q.created_at")} OFFSET 0) o
     WHERE q.workspace_id = s.workspace_id AND q.message_id = ${messageId}),
    (SELECT q.origin ->> 'provider_message_id' FROM messages q
     WHERE q.workspace_id = s.workspace_id AND q.message_id = ${messageId}
       AND q.origin ->> 'channel_account_id' = s.channel_account_id::text AND q.sender_id = s.recipient_id)))`;

const statement = `
WITH started AS (
  UPDATE deliveries d SET
    attempts = d.attempts + 1,
    attempt_started_at = now(),
    next_attempt_at = NULL,
    retry_from = coalesce(d.retry_from, now()),
    status = greatest(d.status, 'in_transit'),
    status_before = d.status,
    part_count = CASE WHEN octet_length(m.payload ->> 'text') > $6 OR m.payload ->> 'type' = 'file' AND (m.payload ? 'caption' OR m.direction = 'inbound')
      THEN greatest(d.part_count, 2) ELSE d.part_count END,
    started_at = CASE WHEN d.status < 'in_transit' THEN $2::timestamptz ELSE d.started_at END
  FROM unnest($1::uuid[]) AS i (delivery_id), messages m
  WHERE d.delivery_id = i.delivery_id AND d.is_pending AND d.attempt_started_at IS NULL
    AND d.partition IN (SELECT bus_held($3, $4, $5)) AND m.workspace_id = d.workspace_id AND m.message_id = d.message_id
  RETURNING d.*, m.payload, m.direction, m.reply_to, m.sender_id
), result AS MATERIALIZED (
  SELECT s.delivery_id AS "deliveryId", s.workspace_id AS "workspaceId", s.message_id AS "messageId", s.identifier,
    s.channel_account_id AS "channelAccountId", s.attempts AS attempt,
    extract(epoch FROM now() - s.retry_from)::float8 * 1000 AS "retriedForMs",
    s.provider_message_ids AS "sentParts", s.payload,
    CASE WHEN s.direction = 'inbound' THEN (
      SELECT p.display_name FROM conversations c JOIN participants p ON p.participant_id = s.sender_id
      WHERE c.conversation_id = s.conversation_id AND c.type = 'group'
        AND (c.settings ->> 'author_prefix') IS DISTINCT FROM 'false') END AS author,
    CASE WHEN s.reply_to IS NOT NULL THEN ${idInLane("s.reply_to")} END AS "quotedProviderMessageId",
    CASE WHEN s.payload ->> 'type' = 'reaction' THEN ${idInLane("(s.payload ->> 'message_id')::uuid")} END
      AS "targetProviderMessageId"
  FROM started s
), published AS MATERIALIZED (
  ${publishStatuses({ from: "started d", where: "d.status_before < 'in_transit'", after: ["result"], commitsEarly: true })}
)
SELECT r.* FROM published JOIN result r ON true`;
