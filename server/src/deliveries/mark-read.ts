import { publishStatuses } from "../events/events.ts";
import { isIdOf } from "../lib/partitions.ts";
import { type Db, run } from "../lib/query.ts";

/** Marks what the participant got in the app, in the range, as read. Safe to call twice. */
export async function markRead(
  tx: Db,
  range: { conversationId: string; participantId: string; fromSeq: number; toSeq: number; now: Date },
): Promise<void> {
  await run(
    tx,
    `WITH read AS (UPDATE deliveries d SET status = 'read', status_before = d.status, read_at = $5, delivered_at = coalesce(d.delivered_at, $5),
       sent_at = coalesce(d.sent_at, $5)
     FROM messages m
     WHERE m.conversation_id = $1 AND m.seq BETWEEN $3 AND $4 AND d.message_id = m.message_id
       AND ${isIdOf("d.delivery_id", "m.created_at")}
       AND d.recipient_id = $2 AND d.channel = 'app' AND d.status < 'read'
     RETURNING d.*)
     ${publishStatuses({ from: "read d" })}`,
    [range.conversationId, range.participantId, range.fromSeq, range.toSeq, range.now],
  );
}
