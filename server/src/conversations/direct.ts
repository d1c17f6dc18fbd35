import { lockPeopleShared, resolveParticipants } from "../contacts/contacts.ts";
import { invalid, RequestError } from "../errors.ts";
import type { Clock } from "../lib/clock.ts";
import { type ConversationId, newId } from "../lib/ids.ts";
import type { PoolClient } from "../lib/postgres.ts";
import { all, type Db, run } from "../lib/query.ts";

export interface DirectPair {
  senderId: string;
  recipientId: string;
  /** Whether the workspace's own conversation with the recipient may be used: for a caller who sees all. */
  mayUseWorkspace: boolean;
}

export type Direct = ConversationId | RequestError;

/**
 * The private conversation in which each sender writes to the recipient, in the order of `pairs`, in a few statements
 * for all: the known one of this pair, or the workspace's own with the recipient, where that may be used; of both, the
 * one used last. Else the newest of exactly these two, else a new one. Concurrent calls agree on one. All must be
 * participants of the workspace. VALIDATION_ERROR when sender and recipient are the same, CONFLICT when the recipient
 * was just deleted. Takes a lock for each pair without a conversation: at most `maxPeople` pairs.
 */
export async function findOrCreateDirects(
  { db, clock }: { db: PoolClient; clock: Clock },
  workspaceId: string,
  pairs: readonly DirectPair[],
): Promise<Direct[]> {
  const found = await findKnownDirects(db, workspaceId, pairs);
  const missing = [...found.keys()].filter((place) => found[place] === null);
  if (missing.length === 0) return found as Direct[];
  await lockPeopleShared(db, workspaceId);
  const recipientIds = missing.map((place) => pairs[place]!.recipientId);
  const living = await resolveParticipants(db, workspaceId, recipientIds);
  const open: { place: number; pair: DirectPair }[] = [];
  for (const place of missing) {
    const recipient = living.get(pairs[place]!.recipientId);
    const pair = { ...pairs[place]!, recipientId: recipient?.participantId ?? "" };
    if (recipient === undefined) found[place] = deletedMeanwhile();
    else open.push({ place, pair });
  }
  const made = await createMissing(
    { db, clock },
    workspaceId,
    open.map(({ pair }) => pair),
  );
  for (const [index, { place }] of open.entries()) found[place] = made[index]!;
  return found as Direct[];
}

/** Looks again under the locks of the pairs: a concurrent transaction may have created some. */
async function createMissing(
  { db, clock }: { db: PoolClient; clock: Clock },
  workspaceId: string,
  pairs: readonly DirectPair[],
): Promise<Direct[]> {
  await lockPairs(db, pairs);
  const known = await findKnownDirects(db, workspaceId, pairs);
  const missing = pairs.filter((_pair, index) => known[index] === null);
  if (missing.length === 0) return known as Direct[];
  const newest = await findNewest(db, missing);
  const nowMs = clock.now();
  const made = new Map<string, { pair: DirectPair; conversationId: ConversationId; isNew: boolean }>();
  for (const [index, pair] of missing.entries()) {
    if (made.has(keyOf(pair))) continue;
    const existing = newest[index]!;
    made.set(keyOf(pair), { pair, conversationId: existing ?? newId(nowMs), isNew: existing === null });
  }
  await insertDirects(db, workspaceId, [...made.values()], new Date(nowMs));
  return pairs.map((pair, index) => known[index] ?? made.get(keyOf(pair))!.conversationId);
}

const keyOf = ({ senderId, recipientId }: DirectPair) => `${senderId} ${recipientId}`;

/** As `findOrCreateDirects`, read-only; null where the pair has no known conversation. */
export async function findKnownDirects(
  db: Db,
  workspaceId: string,
  pairs: readonly DirectPair[],
): Promise<(Direct | null)[]> {
  const known = await findKnown(db, workspaceId, pairs);
  return pairs.map((pair, index) => (pair.senderId === pair.recipientId ? toItself() : known[index]!));
}

async function findKnown(
  db: Db,
  workspaceId: string,
  pairs: readonly DirectPair[],
): Promise<(ConversationId | null)[]> {
  if (pairs.length === 0) return [];
  const rows = await all<{ id: ConversationId | null }>(
    db,
    `SELECT (SELECT conversation_id FROM conversations JOIN unnest(ARRAY[
         (SELECT conversation_id FROM direct_conversations d
          WHERE d.sender_id = p.sender_id AND d.recipient_id = p.recipient_id),
         CASE WHEN p.may_use_workspace THEN coalesce(
           (SELECT conversation_id FROM direct_conversations d WHERE d.sender_id = $1 AND d.recipient_id = p.recipient_id),
           ${newestOf("$1", "p.recipient_id")}) END]) AS known (conversation_id) USING (conversation_id)
       ORDER BY active_at DESC, conversation_id DESC LIMIT 1) AS id
     FROM unnest($2::uuid[], $3::uuid[], $4::boolean[]) WITH ORDINALITY
       AS p (sender_id, recipient_id, may_use_workspace, place)
     ORDER BY place`,
    [
      workspaceId,
      ...columns(pairs),
      pairs.map(({ senderId, mayUseWorkspace }) => mayUseWorkspace && senderId !== workspaceId),
    ],
  );
  return rows.map(({ id }) => id);
}

/** The newest private conversation of exactly these two, which may have been created without an address. */
export async function findNewest(
  db: Db,
  pairs: readonly Pick<DirectPair, "senderId" | "recipientId">[],
): Promise<(ConversationId | null)[]> {
  if (pairs.length === 0) return [];
  const rows = await all<{ id: ConversationId | null }>(
    db,
    `SELECT ${newestOf("p.sender_id", "p.recipient_id")} AS id
     FROM unnest($1::uuid[], $2::uuid[]) WITH ORDINALITY AS p (sender_id, recipient_id, place) ORDER BY place`,
    columns(pairs),
  );
  return rows.map(({ id }) => id);
}

/** Starts from the recipient's conversations: a workspace or an agent may have millions. */
function newestOf(sender: string, recipient: string): string {
  return `(
    WITH candidates AS MATERIALIZED (SELECT conversation_id FROM members WHERE participant_id = ${recipient})
    SELECT conversation_id FROM candidates JOIN conversations USING (conversation_id)
      JOIN members other USING (conversation_id)
    WHERE type = 'private' AND other.participant_id = ${sender} AND NOT settings ? 'continued_in'
    ORDER BY created_at DESC, conversation_id DESC LIMIT 1)`;
}

/** The caller holds the locks of the pairs and has checked that none has a known conversation. */
async function insertDirects(
  db: Db,
  workspaceId: string,
  directs: readonly { pair: DirectPair; conversationId: ConversationId; isNew: boolean }[],
  createdAt: Date,
): Promise<void> {
  await run(
    db,
    `WITH direct AS (
       SELECT * FROM unnest($2::uuid[], $3::uuid[], $4::uuid[], $5::boolean[])
         AS n (sender_id, recipient_id, conversation_id, is_new)
     ), conversation AS (
       INSERT INTO conversations (conversation_id, workspace_id, type, created_at, active_at)
       SELECT conversation_id, $1, 'private', $6, $6 FROM direct WHERE is_new
     ), member AS (
       INSERT INTO members (conversation_id, participant_id, joined_at)
       SELECT conversation_id, participant_id, $6
       FROM direct, unnest(ARRAY[sender_id, recipient_id]) WITH ORDINALITY AS p (participant_id, place)
       WHERE is_new ORDER BY conversation_id, place
     )
     INSERT INTO direct_conversations (sender_id, recipient_id, conversation_id)
     SELECT sender_id, recipient_id, conversation_id FROM direct`,
    [
      workspaceId,
      ...columns(directs.map(({ pair }) => pair)),
      directs.map(({ conversationId }) => conversationId),
      directs.map(({ isNew }) => isNew),
      createdAt,
    ],
  );
}

/** The private conversation of exactly these two, or null. Until the transaction ends, no other can create it. */
export async function lockPrivate(
  tx: PoolClient,
  workspaceId: string,
  [one, other]: readonly [string, string],
): Promise<ConversationId | null> {
  const pair = { senderId: one, recipientId: other, mayUseWorkspace: false };
  await lockPairs(tx, [pair]);
  const [there, back] = await findKnown(tx, workspaceId, [pair, { ...pair, senderId: other, recipientId: one }]);
  return there ?? back ?? (await findNewest(tx, [pair]))[0]!;
}

/** Take these locks after those of people and addresses. */
async function lockPairs(tx: PoolClient, pairs: readonly DirectPair[]): Promise<void> {
  const names = new Set(pairs.map((pair) => `private ${[pair.senderId, pair.recipientId].sort().join(" ")}`));
  // In this order, one key after the other.
  const text = "SELECT pg_advisory_xact_lock(hashtextextended(name, 0)) FROM unnest($1::text[]) AS n (name)";
  await run(tx, text, [[...names].sort()]);
}

function columns(pairs: readonly Pick<DirectPair, "senderId" | "recipientId">[]): [string[], string[]] {
  return [pairs.map(({ senderId }) => senderId), pairs.map(({ recipientId }) => recipientId)];
}

function toItself(): RequestError {
  return invalid("to is an address of the sender: write to another participant.");
}

function deletedMeanwhile(): RequestError {
  return new RequestError("CONFLICT", "The recipient was just deleted; try again.", { retryAfterSeconds: 1 });
}
