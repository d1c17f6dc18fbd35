/**
 * SQL for statements that write the feed. An event is appended in the statement that changes what it is about. The lock
 * of the feed is the last lock of a transaction: a statement that also writes elsewhere names those parts in `after`.
 */

/** The columns that `publishStatuses` needs, of the delivery `d` as it is after the change, and of a status it reached. */
export function statusColumns(d: string, status = `${d}.status`): string {
  return `${d}.workspace_id, ${d}.conversation_id, ${d}.message_id, ${d}.delivery_id, ${d}.recipient_id, ${d}.channel,
    ${d}.seq, ${d}.error, ${d}.sent_at, ${d}.provider_message_ids, ${status} AS status`;
}

/**
 * A query that appends an event for each row of the query `changed`, and always returns one row: select from it, or it
 * does not run. The rows have `statusColumns` and `platform_at`, the platform's time as ISO text or null. `after` names
 * parts of the statement that run first.
 */
export function publishStatuses(changed: string, after: readonly string[] = []): string {
  const waits = after.map((part) => `, (SELECT count(*) FROM ${part}) AS wait_for_${part}`).join("");
  return `SELECT count(*) FROM (
    SELECT append_events(array_agg(workspace_id), array_agg(event_count), array_agg(events)) FROM (
    SELECT workspace_id, count(*)::integer AS event_count,
      string_agg(status_event(conversation_id, message_id, delivery_id, recipient_id, channel, status::text, error,
        sent_at, platform_at, provider_message_ids[1]), ',' ORDER BY seq, delivery_id, status) AS events
    FROM (${changed}) changed${waits} GROUP BY workspace_id
    ) batches HAVING count(*) > 0
  ) appended`;
}

/** The event of an accepted message, as it is stored. */
export function acceptedEvent(conversationId: string, messageId: string): string {
  return `["m","${conversationId}","${messageId}"]`;
}
