import type { Db } from "../lib/query.ts";

/** A message that was checked for shape, ready to be written. */
export interface NewMessage {
  workspaceId: string;
  messageId: string;
  conversationId: string;
  senderId: string;
  /** Whether the sender has to be a member of the conversation; otherwise its right to write there is known already. */
  mustBeMember: boolean;
  direction: "outbound" | "inbound";
  /** JSON. */
  payload: string;
  /** Channels asked for, separated by commas; `*` for all; null for each recipient's own default. */
  channels: string | null;
  /** JSON of `via` and `fallback`, or null. */
  options: string | null;
  replyTo: string | null;
  /** The message a reaction is about. */
  reactsTo: string | null;
  /** JSON, or null. */
  metadata: string | null;
  /** JSON: for an inbound message, where it came from. */
  origin: string | null;
  /** SHA-256 over all that was asked for: the same id with another hash is a conflict. */
  bodyHash: Buffer;
}

/** Where its record goes on the bus. */
export interface OutboxRecord {
  partition: number;
  /** JSON `[key, value]`. */
  line: string;
}

export type Written =
  | { kind: "accepted"; seq: number; createdAt: Date; conversationId: string }
  | { kind: "known"; seq: number; createdAt: Date; conversationId: string; bodyHash: Buffer }
  | { kind: "refused"; why: "conversation" | "sender" | "reply_to" | "reacts_to" | "route" };

/**
 * Takes the next `seq` of each conversation, writes the messages and their outbox records and commits, in one round
 * trip. A message whose id is known, or that may not be written, is told so and disturbs no other. Throws
 * `unique_violation` when another process writes one of these ids at the same moment: call again.
 */
export async function writeMessages(
  db: Db,
  topic: string,
  messages: readonly NewMessage[],
  outbox: readonly OutboxRecord[],
  now: Date,
): Promise<Written[]> {
  const column = <Key extends keyof NewMessage>(key: Key) => messages.map((message) => message[key]);
  const { rows } = await db.query<WrittenRow>({
    name: "write_messages",
    text: statement,
    values: [
      now,
      topic,
      outbox.map((record) => record.partition),
      outbox.map((record) => record.line),
      column("workspaceId"),
      column("messageId"),
      column("conversationId"),
      column("senderId"),
      column("mustBeMember"),
      column("direction"),
      column("payload"),
      column("channels"),
      column("options"),
      column("replyTo"),
      column("reactsTo"),
      column("metadata"),
      column("origin"),
      column("bodyHash"),
    ],
  });
  return rows.map((row, index) => {
    if (row.seq === null) return { kind: "refused", why: row.problem as "conversation" };
    const createdAt = row.created_at ?? now;
    if (row.problem === null) {
      return { kind: "accepted", seq: row.seq, createdAt, conversationId: messages[index]!.conversationId };
    }
    return { kind: "known", seq: row.seq, createdAt, conversationId: row.conversation_id!, bodyHash: row.body_hash! };
  });
}

interface WrittenRow {
  problem: string | null;
  seq: number | null;
  created_at: Date | null;
  conversation_id: string | null;
  body_hash: Buffer | null;
}

const statement = `
WITH input AS MATERIALIZED (
  SELECT * FROM unnest(
    $3::int[], $4::text[], $5::uuid[], $6::uuid[], $7::uuid[], $8::uuid[], $9::boolean[], $10::text[], $11::text[],
    $12::text[], $13::text[], $14::uuid[], $15::uuid[], $16::text[], $17::text[], $18::bytea[]
  ) WITH ORDINALITY AS i (
    partition, line, workspace_id, message_id, conversation_id, sender_id, must_be_member, direction, payload,
    channels, options, reply_to, reacts_to, metadata, origin, body_hash, place
  )
), checked AS MATERIALIZED (
  SELECT i.*, k.seq AS known_seq, k.created_at AS known_at, k.conversation_id AS known_conversation_id,
    k.body_hash AS known_hash,
    CASE
      WHEN k.message_id IS NOT NULL THEN 'known'
      WHEN NOT EXISTS (
        SELECT FROM conversations c WHERE c.conversation_id = i.conversation_id AND c.workspace_id = i.workspace_id
      ) THEN 'conversation'
      WHEN i.must_be_member AND NOT EXISTS (
        SELECT FROM members m WHERE m.conversation_id = i.conversation_id AND m.participant_id = i.sender_id
      ) THEN 'sender'
      WHEN i.reply_to IS NOT NULL AND NOT EXISTS (
        SELECT FROM messages r WHERE r.workspace_id = i.workspace_id AND r.message_id = i.reply_to
          AND r.conversation_id = i.conversation_id
      ) THEN 'reply_to'
      WHEN i.reacts_to IS NOT NULL AND NOT EXISTS (
        SELECT FROM messages r WHERE r.workspace_id = i.workspace_id AND r.message_id = i.reacts_to
          AND r.conversation_id = i.conversation_id
      ) THEN 'reacts_to'
      WHEN i.direction = 'outbound' AND NOT EXISTS (
        SELECT FROM members m JOIN participants p USING (participant_id)
        WHERE m.conversation_id = i.conversation_id AND m.participant_id <> i.sender_id
          AND (i.channels IS NULL AND p.kind <> 'contact' OR EXISTS (
            SELECT FROM addresses a
            WHERE a.participant_id = m.participant_id
              AND (i.channels IS NULL OR i.channels = '*' OR a.channel = ANY (string_to_array(i.channels, ',')))
              AND EXISTS (
                SELECT FROM channel_accounts ca WHERE ca.workspace_id = i.workspace_id AND ca.channel = a.channel
                  AND ca.deleted_at IS NULL AND ca.status = 'active')))
      ) THEN 'route'
    END AS problem
  FROM input i LEFT JOIN messages k ON k.workspace_id = i.workspace_id AND k.message_id = i.message_id
), taken AS MATERIALIZED (
  SELECT c.*, row_number() OVER (PARTITION BY conversation_id ORDER BY place) AS step FROM checked c WHERE problem IS NULL
), locked AS MATERIALIZED (
  SELECT conversation_id FROM conversations
  WHERE conversation_id IN (SELECT conversation_id FROM taken)
  ORDER BY conversation_id FOR UPDATE
), moved AS MATERIALIZED (
  UPDATE conversations c SET last_seq = c.last_seq + t.steps
  FROM (SELECT conversation_id, count(*) AS steps FROM taken GROUP BY conversation_id) t JOIN locked USING (conversation_id)
  WHERE c.conversation_id = t.conversation_id
  RETURNING c.conversation_id, c.last_seq - t.steps AS base
), written AS (
  INSERT INTO messages (message_id, workspace_id, conversation_id, seq, sender_id, direction, payload, channels, options,
    reply_to, metadata, origin, body_hash, created_at)
  SELECT message_id, workspace_id, conversation_id, base + step, sender_id, direction, payload::jsonb, channels,
    options::jsonb, reply_to, metadata::jsonb, origin::jsonb, body_hash, $1::timestamptz
  FROM taken JOIN moved USING (conversation_id)
  ORDER BY place
), published AS (
  SELECT bus_publish($2, array_agg(partition ORDER BY place), array_agg(line ORDER BY place)) FROM taken HAVING count(*) > 0
)
SELECT c.problem, coalesce(c.known_seq, m.base + t.step) AS seq, c.known_at AS created_at,
  c.known_conversation_id AS conversation_id, c.known_hash AS body_hash
FROM checked c LEFT JOIN taken t ON t.place = c.place LEFT JOIN moved m ON m.conversation_id = t.conversation_id,
  (SELECT count(*) FROM published) p
ORDER BY c.place`;
