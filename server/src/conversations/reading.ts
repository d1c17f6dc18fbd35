import { type Principal, seesAllConversations } from "../credentials/credentials.ts";
import { forbidden, invalid } from "../errors.ts";
import type { Clock } from "../lib/clock.ts";
import { type Pool, type PoolClient, transaction } from "../lib/postgres.ts";
import { type Db, maybe, run } from "../lib/query.ts";
import { findConversation, memberIds } from "./conversation.ts";

/** What a member has read now and had not before: `fromSeq` to `toSeq`, both included. */
export interface ReadRange {
  conversationId: string;
  participantId: string;
  fromSeq: number;
  toSeq: number;
  now: Date;
}

/** Told of what was read, in the transaction that keeps it. */
export type MarkRead = (tx: PoolClient, range: ReadRange) => Promise<void>;

/**
 * The caller has read all messages up to `seq`. Reading never goes back: a lower `seq` than before changes nothing.
 * Throws VALIDATION_ERROR for a `seq` that is not there yet, FORBIDDEN when the caller is no member.
 */
export async function readConversation(
  { db, clock, markRead }: { db: Pool; clock: Clock; markRead: MarkRead },
  principal: Principal,
  conversationId: string,
  seq: number,
): Promise<void> {
  await transaction(db, async (tx) => {
    const { lastSeq } = await findConversation(tx, principal, conversationId);
    if (seq > lastSeq) throw invalid(`seq is not there yet: the last one is ${lastSeq}.`, { field: "seq" });
    const participantId = await actingMember(tx, principal, conversationId);
    const readSeq = await lockReadSeq(tx, conversationId, participantId);
    if (readSeq === null || readSeq >= seq) return;
    await setReadSeq(tx, conversationId, participantId, seq);
    await markRead(tx, { conversationId, participantId, fromSeq: readSeq + 1, toSeq: seq, now: new Date(clock.now()) });
  });
}

/** The caller is writing: so far this only says whether it may. */
export async function typeInConversation(db: Db, principal: Principal, conversationId: string): Promise<void> {
  await findConversation(db, principal, conversationId);
  await actingMember(db, principal, conversationId);
}

/** As whom the caller acts: as itself, or, for those who see all conversations, as the workspace. */
async function actingMember(db: Db, principal: Principal, conversationId: string): Promise<string> {
  const members = await memberIds(db, conversationId);
  if (members.includes(principal.participantId)) return principal.participantId;
  if (seesAllConversations(principal) && members.includes(principal.workspaceId)) return principal.workspaceId;
  throw forbidden("Only a member of the conversation can do this; the workspace is none either.");
}

async function lockReadSeq(tx: PoolClient, conversationId: string, participantId: string): Promise<number | null> {
  const row = await maybe<{ readSeq: number }>(
    tx,
    `SELECT read_seq AS "readSeq" FROM members WHERE conversation_id = $1 AND participant_id = $2 FOR NO KEY UPDATE`,
    [conversationId, participantId],
  );
  return row?.readSeq ?? null;
}

async function setReadSeq(tx: PoolClient, conversationId: string, participantId: string, seq: number): Promise<void> {
  const text = "UPDATE members SET read_seq = $3 WHERE conversation_id = $1 AND participant_id = $2";
  await run(tx, text, [conversationId, participantId, seq]);
}
