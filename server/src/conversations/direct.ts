import {
  findLiving,
  findOrCreateContactByAddress,
  findParticipantByAddress,
  holdPeople,
  type ParseAddress,
  requireUserAt,
} from "../contacts/contacts.ts";
import { invalid, RequestError } from "../errors.ts";
import type { Clock } from "../lib/clock.ts";
import { newId } from "../lib/ids.ts";
import { type Pool, type PoolClient, transaction } from "../lib/postgres.ts";
import { all, type Db, maybe, run } from "../lib/query.ts";

export interface DirectPair {
  workspaceId: string;
  senderId: string;
  recipientId: string;
  /** Whether the one between the workspace itself and the recipient serves too: for a caller who sees all. */
  mayUseWorkspace: boolean;
}

/**
 * The private conversation in which the sender reaches the recipient: the one found for this pair before; else the
 * workspace's own with the recipient, where that may be used; else the newest of exactly these two; else a new one.
 * Calls at the same time agree on one. Both must be participants of the workspace. Throws VALIDATION_ERROR when they
 * are the same one, CONFLICT when the recipient was deleted meanwhile.
 */
export async function findOrCreateDirect(
  { db, clock }: { db: PoolClient; clock: Clock },
  pair: DirectPair,
): Promise<{ conversationId: string }> {
  const { workspaceId, senderId, recipientId } = pair;
  if (senderId === recipientId) throw invalid("to is an address of the sender itself; write to somebody else.");
  const known = await findKnown(db, pair);
  if (known !== null) return known;
  await holdPeople(db, workspaceId);
  const recipient = (await findLiving(db, workspaceId, [recipientId])).get(recipientId);
  if (recipient === undefined) throw new RequestError("CONFLICT", "The recipient was deleted just now; try again.");
  const { participantId } = recipient;
  if (participantId !== recipientId) return findOrCreateDirect({ db, clock }, { ...pair, recipientId: participantId });
  await lockPair(db, senderId, recipientId);
  const newest = await findNewest(db, senderId, recipientId);
  const agreed = newest
    ? (await insertDirect(db, senderId, recipientId, newest.conversationId))?.conversationId
    : (await createDirects({ db, clock }, pair, [recipientId])).get(recipientId);
  // None: another call was first, and its row is there for the next statement.
  return agreed === undefined ? (await findDirect(db, senderId, recipientId))! : { conversationId: agreed };
}

/**
 * Creates the private conversations of the sender with these recipients, in one statement. Returns the new ones by
 * recipient, without pairs that have one already.
 */
export async function createDirects(
  { db, clock }: { db: Db; clock: Clock },
  { workspaceId, senderId }: Pick<DirectPair, "workspaceId" | "senderId">,
  recipientIds: readonly string[],
): Promise<Map<string, string>> {
  if (recipientIds.length === 0) return new Map();
  const nowMs = clock.now();
  const made = await all<{ recipientId: string; conversationId: string }>(
    db,
    `WITH direct AS (
       INSERT INTO direct_conversations (sender_id, recipient_id, conversation_id)
       SELECT $2, recipient_id, conversation_id FROM unnest($3::uuid[], $4::uuid[]) AS n (recipient_id, conversation_id)
       ON CONFLICT DO NOTHING RETURNING recipient_id, conversation_id
     ), conversation AS (
       INSERT INTO conversations (conversation_id, workspace_id, type, created_at, active_at)
       SELECT conversation_id, $1, 'private', $5, $5 FROM direct
     ), member AS (
       INSERT INTO members (conversation_id, participant_id, joined_at)
       SELECT conversation_id, participant_id, $5
       FROM direct, unnest(ARRAY[$2, recipient_id]) WITH ORDINALITY AS p (participant_id, place)
       ORDER BY conversation_id, place
     )
     SELECT recipient_id AS "recipientId", conversation_id AS "conversationId" FROM direct`,
    [workspaceId, senderId, recipientIds, recipientIds.map(() => newId(nowMs)), new Date(nowMs)],
  );
  return new Map(made.map(({ recipientId, conversationId }) => [recipientId, conversationId]));
}

export interface DirectAddress extends Omit<DirectPair, "recipientId"> {
  /** As the caller wrote it, in `to`. */
  to: string;
  /** Whether the address may be a contact's or unknown; otherwise it must be a user's. */
  mayReachContacts: boolean;
}

/**
 * The private conversation of the sender with whoever has the address; contact and conversation are made when they are
 * missing. Two round trips when both are there. Throws VALIDATION_ERROR for what is no address, or the sender's own;
 * FORBIDDEN for one that is not a user's, where it must be.
 */
export async function findDirectTo(
  deps: {
    db: Pool;
    clock: Clock;
    parseAddress: ParseAddress;
    /** Throws when nothing may be created for this recipient; its id is null when it would be created too. */
    beforeMaking?: (recipient: { channel: string; participantId: string | null }) => Promise<void>;
  },
  { to, mayReachContacts, ...pair }: DirectAddress,
): Promise<{ conversationId: string }> {
  const { db, clock, parseAddress } = deps;
  const { workspaceId } = pair;
  const address = parseAddress(to, "to");
  const findRecipient = () =>
    mayReachContacts
      ? findParticipantByAddress(db, workspaceId, address)
      : requireUserAt(db, workspaceId, address, "to");
  const recipientId = await findRecipient();
  const known = recipientId === null ? null : await findKnown(db, { ...pair, recipientId });
  if (known !== null) return known;
  if (recipientId === null || (await findNewest(db, pair.senderId, recipientId)) === null) {
    try {
      await deps.beforeMaking?.({ channel: address.channel, participantId: recipientId });
    } catch (error) {
      // A concurrent request may have created it: then accepting the message decides.
      const madeFor = await findRecipient();
      const made = madeFor === null ? null : await findKnown(db, { ...pair, recipientId: madeFor });
      if (made !== null) return made;
      throw error;
    }
  }
  return transaction(db, async (tx) => {
    if (!mayReachContacts) return findOrCreateDirect({ db: tx, clock }, { ...pair, recipientId: recipientId! });
    const person = { workspaceId, ...address, aliases: [], displayName: null };
    const participantId = await findOrCreateContactByAddress({ db: tx, clock }, person);
    return findOrCreateDirect({ db: tx, clock }, { ...pair, recipientId: participantId });
  });
}

/**
 * The private conversation of exactly these two, for a transaction that creates it when there is none: until that
 * transaction ends, no other one can create it.
 */
export async function lockPrivate(tx: PoolClient, one: string, other: string): Promise<string | null> {
  await lockPair(tx, one, other);
  const found =
    (await findDirect(tx, one, other)) ?? (await findDirect(tx, other, one)) ?? (await findNewest(tx, one, other));
  return found?.conversationId ?? null;
}

/** Take this lock after those of people and addresses. */
async function lockPair(tx: PoolClient, one: string, other: string): Promise<void> {
  const name = `private ${[one, other].sort().join(" ")}`;
  await run(tx, "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", [name]);
}

/** What needs nothing to be made. */
async function findKnown(db: Db, { workspaceId, senderId, recipientId, mayUseWorkspace }: DirectPair): Promise<Found> {
  const own = await findDirect(db, senderId, recipientId);
  if (own !== null || !mayUseWorkspace || senderId === workspaceId) return own;
  return (await findDirect(db, workspaceId, recipientId)) ?? (await findNewest(db, workspaceId, recipientId));
}

type Found = { conversationId: string } | null;

function findDirect(db: Db, senderId: string, recipientId: string): Promise<Found> {
  return maybe(
    db,
    `SELECT conversation_id AS "conversationId" FROM direct_conversations WHERE sender_id = $1 AND recipient_id = $2`,
    [senderId, recipientId],
  );
}

/** By way of the recipient's conversations: those of a workspace or an agent may be millions. */
function findNewest(db: Db, senderId: string, recipientId: string): Promise<Found> {
  return maybe(
    db,
    `WITH candidates AS MATERIALIZED (SELECT conversation_id FROM members WHERE participant_id = $2)
     SELECT conversation_id AS "conversationId"
     FROM candidates JOIN conversations USING (conversation_id) JOIN members sender USING (conversation_id)
     WHERE type = 'private' AND sender.participant_id = $1 AND NOT settings ? 'continued_in'
     ORDER BY created_at DESC, conversation_id DESC LIMIT 1`,
    [senderId, recipientId],
  );
}

function insertDirect(db: Db, senderId: string, recipientId: string, conversationId: string): Promise<Found> {
  return maybe(
    db,
    `INSERT INTO direct_conversations (sender_id, recipient_id, conversation_id) VALUES ($1, $2, $3)
     ON CONFLICT DO NOTHING RETURNING conversation_id AS "conversationId"`,
    [senderId, recipientId, conversationId],
  );
}
