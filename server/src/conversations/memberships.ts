import { RequestError } from "../errors.ts";
import type { ConversationId } from "../lib/ids.ts";
import type { PoolClient } from "../lib/postgres.ts";
import { maybe, run } from "../lib/query.ts";

/** Removes a participant from its groups, except from those that would be empty. */
export async function leaveGroups(tx: PoolClient, participantId: string): Promise<void> {
  await run(
    tx,
    `DELETE FROM members m USING conversations c
     WHERE m.participant_id = $1 AND c.conversation_id = m.conversation_id AND c.type = 'group' AND EXISTS (
       SELECT FROM members other WHERE other.conversation_id = c.conversation_id AND other.participant_id <> $1)`,
    [participantId],
  );
}

/**
 * Replaces `from` by `into` in every conversation; a group of both keeps one membership. Where both have a private
 * conversation with the same third participant, that of `into` is used from then on. Throws CONFLICT when the two have
 * a private conversation with each other, which would be left with one member.
 */
export async function moveMemberships(tx: PoolClient, from: string, into: string): Promise<void> {
  const between = await findPrivateBetween(tx, from, into);
  if (between !== null) {
    throw new RequestError(
      "CONFLICT",
      "The two contacts have a private conversation with each other, so they cannot be merged.",
      {
        details: { conversation_id: between.conversationId },
      },
    );
  }
  await continueInOne(tx, from, into);
  await joinReading(tx, from, into);
  await deleteSharedPlaces(tx, from, into);
  await movePlaces(tx, from, into);
  await moveDirect(tx, "sender_id", "recipient_id", from, into);
  await moveDirect(tx, "recipient_id", "sender_id", from, into);
  await run(tx, "DELETE FROM direct_conversations WHERE sender_id = $1 OR recipient_id = $1", [from]);
}

function findPrivateBetween(
  tx: PoolClient,
  one: string,
  other: string,
): Promise<{ conversationId: ConversationId } | null> {
  return maybe(
    tx,
    `SELECT c.conversation_id AS "conversationId"
     FROM members a JOIN members b USING (conversation_id) JOIN conversations c USING (conversation_id)
     WHERE a.participant_id = $1 AND b.participant_id = $2 AND c.type = 'private' LIMIT 1`,
    [one, other],
  );
}

/** The conversation in use is found by `direct_conversations`; the others refer to it by `continued_in`. */
async function continueInOne(tx: PoolClient, from: string, into: string): Promise<void> {
  await run(
    tx,
    `WITH own AS MATERIALIZED (
       SELECT c.conversation_id, c.settings, c.created_at, m.participant_id AS contact_id, o.participant_id AS other_id
       FROM members m JOIN conversations c USING (conversation_id) JOIN members o USING (conversation_id)
       WHERE m.participant_id IN ($1, $2) AND c.type = 'private' AND o.participant_id <> m.participant_id
     ), kept AS (
       SELECT DISTINCT ON (own.other_id) own.other_id, own.conversation_id
       FROM own LEFT JOIN direct_conversations d
         ON d.sender_id = own.other_id AND d.recipient_id = $2 AND d.conversation_id = own.conversation_id
       WHERE own.contact_id = $2 AND NOT own.settings ? 'continued_in'
       ORDER BY own.other_id, d.conversation_id IS NULL, own.created_at DESC, own.conversation_id DESC
     ), found AS (
       INSERT INTO direct_conversations (sender_id, recipient_id, conversation_id)
       SELECT other_id, $2, conversation_id FROM kept JOIN participants p ON p.participant_id = other_id
       ORDER BY other_id ON CONFLICT DO NOTHING
     )
     UPDATE conversations c
     SET settings = c.settings || jsonb_build_object('continued_in', kept.conversation_id)
     FROM own JOIN kept USING (other_id)
     WHERE c.conversation_id = own.conversation_id AND own.conversation_id <> kept.conversation_id
       AND c.settings ->> 'continued_in' IS DISTINCT FROM kept.conversation_id::text`,
    [from, into],
  );
}

async function joinReading(tx: PoolClient, from: string, into: string): Promise<void> {
  await run(
    tx,
    `UPDATE members kept SET read_seq = gone.read_seq FROM members gone
     WHERE kept.participant_id = $2 AND gone.participant_id = $1 AND gone.conversation_id = kept.conversation_id
       AND kept.read_seq < gone.read_seq`,
    [from, into],
  );
}

async function deleteSharedPlaces(tx: PoolClient, from: string, into: string): Promise<void> {
  await run(
    tx,
    `DELETE FROM members gone USING members kept
     WHERE gone.participant_id = $1 AND kept.participant_id = $2 AND kept.conversation_id = gone.conversation_id`,
    [from, into],
  );
}

async function movePlaces(tx: PoolClient, from: string, into: string): Promise<void> {
  await run(tx, "UPDATE members SET participant_id = $2 WHERE participant_id = $1", [from, into]);
}

type Side = "sender_id" | "recipient_id";

/** Where both have a private conversation with the same participant, that of `into` stays the known one. */
async function moveDirect(tx: PoolClient, side: Side, other: Side, from: string, into: string): Promise<void> {
  await run(
    tx,
    `UPDATE direct_conversations d SET ${side} = $2
     WHERE ${side} = $1 AND NOT EXISTS (
       SELECT FROM direct_conversations kept WHERE kept.${side} = $2 AND kept.${other} = d.${other})`,
    [from, into],
  );
}
