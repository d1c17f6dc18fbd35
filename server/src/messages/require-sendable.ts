import { isConnected } from "../channel-accounts/channel-accounts.ts";
import { RequestError } from "../errors.ts";
import { type Db, one } from "../lib/query.ts";
import { refusal } from "./accept.ts";
import type { NewMessage } from "./write-messages.ts";

/** The recipient of a message in a conversation that does not exist yet. */
export interface NewRecipient {
  channel: string;
  /** Null when a contact would be created. */
  participantId: string | null;
}

/**
 * Throws the errors of accepting before a contact and a conversation are created, so that a refused message leaves
 * nothing. A message that it quotes cannot exist yet, and a known id belongs to another message.
 */
export async function requireSendable(db: Db, message: NewMessage, recipient: NewRecipient): Promise<void> {
  const { workspaceId, messageId, senderId, channels, replyTo, reactsTo } = message;
  const found = await one<{ is_known: boolean; has_sender: boolean; is_in_app: boolean; is_reached: boolean }>(
    db,
    `SELECT EXISTS (SELECT FROM messages WHERE workspace_id = $1 AND message_id = $2) AS is_known,
       EXISTS (SELECT FROM participants
         WHERE participant_id = $3 AND workspace_id = $1 AND deleted_at IS NULL) AS has_sender,
       EXISTS (SELECT FROM participants WHERE participant_id = $4 AND kind <> 'contact') AS is_in_app,
       EXISTS (SELECT FROM channel_accounts n
         WHERE n.workspace_id = $1 AND ${isConnected}
           AND ($6::text[] IS NULL OR n.channel = ANY ($6))
           AND (n.channel = $5 OR n.channel IN (SELECT a.channel FROM addresses a WHERE a.participant_id = $4))
       ) AS is_reached`,
    [
      workspaceId,
      messageId,
      senderId,
      recipient.participantId,
      recipient.channel,
      channels === null || channels === "*" ? null : channels.split(","),
    ],
  );
  if (found.is_known) {
    throw new RequestError("IDEMPOTENCY_CONFLICT", "This message_id was used for another message. Use a new one.");
  }
  if (!found.has_sender) throw refusal(message, "sender");
  if (replyTo !== null) throw refusal(message, "reply_to");
  if (reactsTo !== null) throw refusal(message, "reacts_to");
  if (!found.is_reached && !(found.is_in_app && channels === null)) throw refusal(message, "route");
}
