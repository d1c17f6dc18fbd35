import type { ReadRange } from "../conversations/conversations.ts";
import type { ChannelAccountId, ConversationId } from "../lib/ids.ts";
import { all, type Db, run } from "../lib/query.ts";

/** The last message of a person that was read here, to be reported to the platform. */
export interface ReadMark {
  channelAccountId: ChannelAccountId;
  identifier: string;
  workspaceId: string;
  channel: string;
  providerMessageId: string;
  ageMs: number;
}

/** Messages searched before the last one read: a mark covers all earlier messages too. */
const maxLookBack = 1_000;
/** How long only the process that wrote a mark sends it, in seconds. */
const ownSeconds = 10;
/** Pause between two tries, doubled after each, in seconds. */
const pauseSeconds = { first: 2, longest: 60 };

/** In the caller's transaction. A message older than the person's mark changes nothing. */
export async function insertReadMarks(tx: Db, range: ReadRange, channels: readonly string[]): Promise<void> {
  await run(
    tx,
    `INSERT INTO read_marks AS r (channel_account_id, identifier, workspace_id, conversation_id, channel,
       provider_message_id, written_at, seq, is_pending, due_at, since)
     SELECT DISTINCT ON (1, 2) (origin ->> 'channel_account_id')::uuid, origin ->> 'identifier', workspace_id,
       conversation_id, origin ->> 'channel', origin ->> 'provider_message_id', created_at, seq, true,
       now() + make_interval(secs => $6), now()
     FROM messages
     WHERE conversation_id = $1 AND seq BETWEEN greatest($2, $3::bigint - $5) AND $3 AND direction = 'inbound'
       AND sender_id <> $4 AND origin ->> 'channel' = ANY ($7) AND origin ? 'identifier'
       AND EXISTS (SELECT FROM channel_accounts a
         WHERE a.channel_account_id = (origin ->> 'channel_account_id')::uuid AND a.deleted_at IS NULL)
     ORDER BY 1, 2, seq DESC
     ON CONFLICT (channel_account_id, identifier) DO UPDATE SET conversation_id = excluded.conversation_id,
       provider_message_id = excluded.provider_message_id, written_at = excluded.written_at, seq = excluded.seq,
       is_pending = true, tries = 0, due_at = excluded.due_at, since = excluded.since
     WHERE (r.written_at, r.seq) < (excluded.written_at, excluded.seq)`,
    [range.conversationId, range.fromSeq, range.toSeq, range.participantId, maxLookBack, ownSeconds, channels],
  );
}

export function takeOfConversation(db: Db, conversationId: ConversationId): Promise<ReadMark[]> {
  return take(db, "conversation_id = $1 ORDER BY channel_account_id, identifier", [conversationId]);
}

/** Takes marks that are due, oldest first. Safe in several processes at once. */
export function takeDue(db: Db, limit: number): Promise<ReadMark[]> {
  return take(db, "due_at <= now() ORDER BY due_at LIMIT $1", [limit]);
}

function take(db: Db, which: string, values: unknown[]): Promise<ReadMark[]> {
  const { first, longest } = pauseSeconds;
  return all<ReadMark>(
    db,
    `UPDATE read_marks r SET tries = r.tries + 1,
       due_at = now() + make_interval(secs => least(${longest}, ${first} * 2 ^ least(r.tries, 10)))
     FROM (SELECT channel_account_id, identifier FROM read_marks WHERE is_pending AND ${which} FOR UPDATE SKIP LOCKED) t
     WHERE r.channel_account_id = t.channel_account_id AND r.identifier = t.identifier
     RETURNING r.channel_account_id AS "channelAccountId", r.identifier, r.workspace_id AS "workspaceId", r.channel,
       r.provider_message_id AS "providerMessageId", extract(epoch FROM now() - r.since)::float8 * 1000 AS "ageMs"`,
    values,
  );
}

/** Removes marks that need no further try, unless a later message was read since. */
export async function settle(db: Db, marks: readonly ReadMark[]): Promise<void> {
  if (marks.length === 0) return;
  await run(
    db,
    `UPDATE read_marks r SET is_pending = false
     FROM unnest($1::uuid[], $2::text[], $3::text[]) AS m (channel_account_id, identifier, provider_message_id)
     WHERE r.channel_account_id = m.channel_account_id AND r.identifier = m.identifier
       AND r.provider_message_id = m.provider_message_id`,
    [
      marks.map(({ channelAccountId }) => channelAccountId),
      marks.map(({ identifier }) => identifier),
      marks.map(({ providerMessageId }) => providerMessageId),
    ],
  );
}
