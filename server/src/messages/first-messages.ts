import { isConnected } from "../channel-accounts/channel-accounts.ts";
import type { RequestError } from "../errors.ts";
import { all, type Db } from "../lib/query.ts";
import { refusal, usedId } from "./accept.ts";
import type { NewMessage } from "./write-messages.ts";

interface FirstMessage {
  message: NewMessage;
  channel: string;
  recipientId: string | null;
}

/**
 * The errors of accepting, before a contact and a conversation are created, so that a refused message leaves nothing
 * behind: in order, null for a message that may be sent. A quoted message cannot exist yet. A known id is always
 * refused here: `resolveDrafts` checks for repeated messages.
 */
export async function checkFirstMessages(
  db: Db,
  workspaceId: string,
  firsts: readonly FirstMessage[],
): Promise<(RequestError | null)[]> {
  const rows = await all<{ is_known: boolean; has_sender: boolean; is_in_app: boolean; is_reached: boolean }>(
    db,
    `SELECT EXISTS (SELECT FROM messages WHERE workspace_id = $1 AND message_id = i.message_id) AS is_known,
       EXISTS (SELECT FROM participants
         WHERE participant_id = i.sender_id AND workspace_id = $1 AND deleted_at IS NULL) AS has_sender,
       EXISTS (SELECT FROM participants WHERE participant_id = i.recipient_id AND kind <> 'contact') AS is_in_app,
       EXISTS (SELECT FROM channel_accounts n
         WHERE n.workspace_id = $1 AND ${isConnected}
           AND (i.channels IS NULL OR n.channel = ANY (string_to_array(i.channels, ',')))
           AND (n.channel = i.channel
             OR n.channel IN (SELECT a.channel FROM addresses a WHERE a.participant_id = i.recipient_id))
       ) AS is_reached
     FROM unnest($2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::text[]) WITH ORDINALITY
       AS i (message_id, sender_id, recipient_id, channel, channels, place)
     ORDER BY place`,
    [
      workspaceId,
      firsts.map(({ message }) => message.messageId),
      firsts.map(({ message }) => message.senderId),
      firsts.map(({ recipientId }) => recipientId),
      firsts.map(({ channel }) => channel),
      firsts.map(({ message }) => (message.channels === "*" ? null : message.channels)),
    ],
  );
  return firsts.map(({ message }, index) => {
    const { is_known, has_sender, is_in_app, is_reached } = rows[index]!;
    const { channels, replyTo, reactsTo } = message;
    if (is_known) return usedId();
    if (!has_sender) return refusal(message, "sender");
    if (replyTo !== null) return refusal(message, "reply_to");
    if (reactsTo !== null) return refusal(message, "reacts_to");
    return is_reached || (is_in_app && channels === null) ? null : refusal(message, "route");
  });
}
