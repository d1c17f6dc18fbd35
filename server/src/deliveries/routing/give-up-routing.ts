import type { BusRecord } from "../../bus/bus.ts";
import { publishStatuses } from "../../events/events.ts";
import { faultCode } from "../../lib/faults.ts";
import { derivedId } from "../../lib/ids.ts";
import { maybe, run } from "../../lib/query.ts";
import type { PipelineDeps } from "../pipeline-deps.ts";
import type { AcceptedRecord } from "./load-routing.ts";

/**
 * Fails a message that cannot be routed. Its dead letter names the only recipient, else the sender; a replay routes it
 * again. Safe to call twice.
 */
export async function giveUpRouting(
  { db, eventNotifier, clock }: Pick<PipelineDeps, "db" | "eventNotifier" | "clock">,
  { value }: BusRecord<AcceptedRecord>,
  error: unknown,
): Promise<void> {
  const now = new Date(clock.now());
  const recipientId = value.retryOf?.recipientId ?? null;
  const found = "SELECT created_at FROM messages WHERE workspace_id = $1 AND message_id = $2";
  const routed = await maybe<{ created_at: Date }>(db, found, [value.workspaceId, value.messageId]);
  if (routed === null) return;
  const message = `The hub could not route this message (${faultCode(error)}): see the hub's log, and replay the message when the cause is fixed.`;
  await run(
    db,
    `WITH written AS (INSERT INTO deliveries AS d (delivery_id, workspace_id, message_id, conversation_id, seq, recipient_id, channel,
       status, is_pending, route, error, is_dead_letter, failed_at, history, created_at, unrouted)
     SELECT $1, m.workspace_id, m.message_id, m.conversation_id, m.seq, coalesce($3, (
         SELECT min(o.participant_id::text)::uuid FROM members o
         WHERE o.conversation_id = m.conversation_id AND o.participant_id <> m.sender_id HAVING count(*) = 1
       ), m.sender_id), 'none', 'failed', false, 'the hub could not route it', $4, true, $5,
       jsonb_build_array(jsonb_build_object('status', 'failed', 'at', $5::timestamptz, 'cause', 'ROUTING_FAILED')), $5, $6
     FROM messages m WHERE m.message_id = $2
     ON CONFLICT (delivery_id) DO UPDATE SET is_dead_letter = true, failed_at = excluded.failed_at,
       error = excluded.error, history = delivery_history(d) || excluded.history
     WHERE NOT d.is_dead_letter
     RETURNING d.*)
     ${publishStatuses({ from: "written d" })}`,
    [
      derivedId(routed.created_at.getTime(), "unrouted", value.messageId, recipientId ?? ""),
      value.messageId,
      recipientId,
      JSON.stringify({ code: "ROUTING_FAILED", message }),
      now,
      JSON.stringify(value),
    ],
  );
  eventNotifier.notify(value.workspaceId);
}
