import { type Principal, seesAllConversations } from "../credentials/credentials.ts";
import type { RequestDb } from "../database-roles.ts";
import { forbidden, invalid } from "../errors.ts";
import type { Clock } from "../lib/clock.ts";
import type { ConversationId } from "../lib/ids.ts";
import { type PoolClient, transaction } from "../lib/postgres.ts";
import { type Db, maybe, run } from "../lib/query.ts";
import { findConversation, memberIds } from "./conversation.ts";

export interface ReadRange {
  conversationId: ConversationId;
  participantId: string;
  fromSeq: number;
  toSeq: number;
  now: Date;
}

export type SaveRead = (tx: PoolClient, range: ReadRange) => Promise<void>;

/** Each message that is read is an event, and the events of one statement are read together. */
const readTogether = 1_000;

/**
 * A lower `seq` than before changes nothing. VALIDATION_ERROR for a future `seq`, FORBIDDEN for non-members. Many messages
 * are read in several transactions, the oldest first; the same request again reads what an error has left.
 */
export async function readConversation(
  deps: { db: RequestDb; clock: Clock; saveMarks: SaveRead },
  principal: Principal,
  conversationId: ConversationId,
  seq: number,
): Promise<void> {
  while (!(await readSome(deps, principal, conversationId, seq)));
}

/** Whether all is read. */
function readSome(
  { db, clock, saveMarks }: { db: RequestDb; clock: Clock; saveMarks: SaveRead },
  principal: Principal,
  conversationId: ConversationId,
  seq: number,
): Promise<boolean> {
  return transaction(db, async (tx) => {
    const { lastSeq } = await findConversation(tx, principal, conversationId);
    if (seq > lastSeq)
      throw invalid(`seq names a message that does not exist yet: the last one is ${lastSeq}.`, { field: "seq" });
    const participantId = await actingMember(tx, principal, conversationId);
    const readSeq = await lockReadSeq(tx, conversationId, participantId);
    if (readSeq === null || readSeq >= seq) return true;
    const toSeq = Math.min(seq, readSeq + readTogether);
    await setReadSeq(tx, conversationId, participantId, toSeq);
    await saveMarks(tx, { conversationId, participantId, fromSeq: readSeq + 1, toSeq, now: new Date(clock.now()) });
    return toSeq === seq;
  });
}

/** Throws as `findConversation`, and FORBIDDEN when the caller is not a member. */
export async function typeInConversation(db: Db, principal: Principal, conversationId: ConversationId): Promise<void> {
  await findConversation(db, principal, conversationId);
  await actingMember(db, principal, conversationId);
}

/** The member for whom the caller acts: itself or, when it sees all conversations, the workspace. */
async function actingMember(db: Db, principal: Principal, conversationId: ConversationId): Promise<string> {
  const members = await memberIds(db, conversationId);
  if (members.includes(principal.participantId)) return principal.participantId;
  if (seesAllConversations(principal) && members.includes(principal.workspaceId)) return principal.workspaceId;
  throw forbidden("Only a member of the conversation can do this, and neither you nor the workspace is one.");
}

async function lockReadSeq(
  tx: PoolClient,
  conversationId: ConversationId,
  participantId: string,
): Promise<number | null> {
  const row = await maybe<{ readSeq: number }>(
    tx,
    `SELECT read_seq AS "readSeq" FROM members WHERE conversation_id = $1 AND participant_id = $2 FOR NO KEY UPDATE`,
    [conversationId, participantId],
  );
  return row?.readSeq ?? null;
}

async function setReadSeq(
  tx: PoolClient,
  conversationId: ConversationId,
  participantId: string,
  seq: number,
): Promise<void> {
  const text = "UPDATE members SET read_seq = $3 WHERE conversation_id = $1 AND participant_id = $2";
  await run(tx, text, [conversationId, participantId, seq]);
}
