import { openChecker } from "../../../e2e/src/checker.ts";
import type { Inbox } from "../hub/simulator.ts";
import { CheckFailed } from "../measure.ts";
import { withDb } from "../watch/statements.ts";
import type { StartedFloor } from "./floor-process.ts";

interface StoredMessage {
  message_id: string;
  conversation_id: string;
  seq: number;
  text: string;
}

/** The floor keeps its promises too: each message reached its person once, and in the order of its conversation. */
export async function checkFloor(
  { databaseUrl, conversationIds, identifiers }: StartedFloor,
  inbox: Inbox,
): Promise<void> {
  const checker = openChecker();
  const stored = await withDb(databaseUrl, (db) =>
    db.query<StoredMessage>("SELECT message_id, conversation_id, seq, payload ->> 'text' AS text FROM messages"),
  );
  const recipients = new Map(conversationIds.map((id, index) => [id, identifiers[index]!]));
  for (const { message_id, conversation_id, seq, text } of stored.rows) {
    checker.accepted({
      conversation: conversation_id,
      seq,
      messageId: message_id,
      recipients: [recipients.get(conversation_id)!],
      text,
    });
  }
  for (const { to, text } of inbox.messages) checker.received({ recipient: to, key: text });
  const { ok, counts } = checker.report();
  if (!ok) throw new CheckFailed(`The floor lost, repeated or reordered messages: ${JSON.stringify(counts)}.`);
}
