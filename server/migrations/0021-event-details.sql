-- Events of statuses say what changes afterwards: the platform's id of the message and its times are cleared by a replay,
-- and an event that is read later must say what it said before. As in 0007, with three more fields:
--   ["s", conversation, message, delivery, recipient, channel, status, error|null, sent at|null, platform time|null,
--     provider message id|null]
-- `sent at` is when the platform took it, `platform time` when the platform says that the status came about. The address and
-- the channel account of a delivery do not change: they are read from its row.

CREATE FUNCTION status_event(
  p_conversation uuid, p_message uuid, p_delivery uuid, p_recipient uuid, p_channel text, p_status text, p_error jsonb,
  p_sent_at timestamptz, p_platform_at text, p_provider_message_id text
) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT '["s","' || p_conversation || '","' || p_message || '","' || p_delivery || '","' || p_recipient || '","' || p_channel
    || '","' || p_status || '",' || CASE WHEN p_error IS NOT NULL AND p_status = 'failed' THEN p_error::text ELSE 'null' END
    || CASE WHEN p_status = 'in_transit' THEN ',null,null,null]'
      ELSE ',' || coalesce(to_json(p_sent_at)::text, 'null') || ',' || coalesce('"' || p_platform_at || '"', 'null')
        || ',' || coalesce(to_json(p_provider_message_id)::text, 'null') || ']' END
$$;

CREATE OR REPLACE FUNCTION tell_new_deliveries() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM append_events(array_agg(workspace_id), array_agg(event_count), array_agg(events)) FROM (
    SELECT workspace_id, count(*)::integer AS event_count,
      string_agg(status_event(conversation_id, message_id, delivery_id, recipient_id, channel, status::text, error, sent_at,
        NULL, provider_message_ids[1]), ',' ORDER BY seq) AS events
    FROM written WHERE status <> 'accepted' GROUP BY workspace_id
  ) batches HAVING count(*) > 0;
  RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION tell_deliveries() RETURNS trigger
LANGUAGE plpgsql SET enable_hashjoin = on AS $$
BEGIN
  PERFORM append_events(array_agg(workspace_id), array_agg(event_count), array_agg(events)) FROM (
    SELECT d.workspace_id, count(*)::integer AS event_count,
      string_agg(status_event(d.conversation_id, d.message_id, d.delivery_id, d.recipient_id, d.channel,
        told.change ->> 'status', d.error, d.sent_at, told.change ->> 'platform_at', d.provider_message_ids[1]),
        ',' ORDER BY d.seq, told.place) AS events
    FROM written d JOIN replaced o USING (delivery_id)
      CROSS JOIN LATERAL (
        SELECT place, d.history -> place AS change
        FROM generate_series(jsonb_array_length(o.history), jsonb_array_length(d.history) - 1) AS place
      ) told
    GROUP BY d.workspace_id
  ) batches HAVING count(*) > 0;
  RETURN NULL;
END
$$;

DROP FUNCTION status_event(uuid, uuid, uuid, uuid, text, text, jsonb);
CALL run_as_owner('tell_new_deliveries()');
CALL run_as_owner('tell_deliveries()');
