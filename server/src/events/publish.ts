import { commitsEarly } from "../lib/early-commit.ts";

/**
 * SQL for statements that write the feed. An event is appended in the statement that changes what it is about. The lock
 * of the feed is the last lock of a transaction: a statement that also writes elsewhere names those parts in `after`.
 */

interface StatusChanges {
  /** What follows FROM: the changed deliveries as `d`, as they are after the change, and what the rest refers to. */
  from: string;
  where?: string;
  /** The status that each row reached. */
  status?: string;
  /** The platform's time as ISO text. */
  platformAt?: string;
  /** Parts of the statement that run first. */
  after?: readonly string[];
  /** For `queryEarly`. */
  commitsEarly?: boolean;
}

/** What the events of changed deliveries `d` are made of. An update returns these, and not all of its forty columns. */
export const publishedColumns = `d.workspace_id, d.conversation_id, d.seq, d.message_id, d.delivery_id, d.recipient_id,
  d.channel, d.status, d.status_before, d.error, d.sent_at, d.provider_message_ids`;

/** A query that appends an event for each row, and always returns one row: select from it, or it does not run. */
export function publishStatuses(changes: StatusChanges): string {
  const { from, where = "true", status = "d.status", platformAt = "NULL", after = [] } = changes;
  const early = changes.commitsEarly === true ? `, ${commitsEarly}` : "";
  // Each is executed once, before the first row.
  const waits = after.map((part) => `(SELECT count(*) FROM ${part}) IS NOT NULL AND `).join("");
  return `SELECT count(*)${early} FROM (
    SELECT append_events(array_agg(workspace_id), array_agg(event_count), array_agg(events)) FROM (
      SELECT d.workspace_id, count(*)::integer AS event_count,
        string_agg(status_event(d.conversation_id, d.message_id, d.delivery_id, d.recipient_id, d.channel, ${status}::text,
          d.error, d.sent_at, ${platformAt}, d.provider_message_ids[1]), ',' ORDER BY d.seq, d.delivery_id, ${status}) AS events
      FROM ${from} WHERE ${waits}${where} GROUP BY d.workspace_id
    ) batches HAVING count(*) > 0
  ) appended`;
}

/** The event of an accepted message, as it is stored. */
export function acceptedEvent(conversationId: string, messageId: string): string {
  return `["m","${conversationId}","${messageId}"]`;
}
