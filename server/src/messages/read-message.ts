import type { Message } from "../../../contract/src/messages.ts";
import { type Principal, seesAllConversations } from "../credentials/credentials.ts";
import { notFound } from "../errors.ts";
import { type Db, maybe } from "../lib/query.ts";
import { type MessageRow, messageColumns, showMessages } from "./show.ts";

/** Throws RESOURCE_NOT_FOUND for a message that is absent, of another workspace, or of a conversation the caller is not in. */
export async function readMessage(db: Db, principal: Principal, messageId: string): Promise<Message> {
  const [message] = await showMessages(db, principal, [await findMessage(db, principal, messageId)]);
  return message!;
}

export interface FoundMessage extends MessageRow {
  origin: Record<string, unknown> | null;
}

export async function findMessage(db: Db, principal: Principal, messageId: string): Promise<FoundMessage> {
  const row = await maybe<FoundMessage>(
    db,
    `SELECT ${messageColumns}, origin FROM messages m
     WHERE workspace_id = $1 AND message_id = $2 AND ($3 OR EXISTS (
       SELECT FROM members WHERE members.conversation_id = m.conversation_id AND participant_id = $4))`,
    [principal.workspaceId, messageId, seesAllConversations(principal), principal.participantId],
  );
  if (row === null) throw notFound("message");
  return row;
}
