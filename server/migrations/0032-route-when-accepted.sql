-- A message is routed in the commit that accepts it, and its attempt starts there, where one process accepts, routes and
-- owns the lane. That is the same function as for the step `route`, which does it for all other messages.

-- All messages up to `routed_seq` were routed: the next one may be, without overtaking those on the bus.
ALTER TABLE conversations ADD COLUMN routed_seq bigint NOT NULL DEFAULT 0;

-- A planned delivery. `starter` is the consumer that wants to start its attempt with this commit; null to publish it.
CREATE TYPE planned_delivery AS (
  delivery_id uuid, workspace_id uuid, message_id uuid, conversation_id uuid, seq bigint, recipient_id uuid, channel text,
  identifier text, channel_account_id uuid, lane_id uuid, partition integer, route text, status delivery_status, error text,
  cause text, topic text, fallback_after integer, part_count integer, starter uuid
);

-- Which of these deliveries may start: the consumer still owns their partition, and nothing waits in their lane. A consumer
-- that takes over a partition waits until the transactions that hold its fence have ended (`bus_pass_fence`), and only then
-- looks for what is pending. Every query sees what was committed before it.
CREATE FUNCTION bus_fence(p_topic text, p_partition integer) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
  SELECT (hashtext('chat4all fence ' || p_topic)::bigint << 32) | p_partition
$$;
CREATE FUNCTION bus_pass_fence(p_topic text, p_partitions integer[]) RETURNS void LANGUAGE sql AS $$
  SELECT pg_advisory_xact_lock(bus_fence(p_topic, partition)) FROM (SELECT unnest(p_partitions) AS partition ORDER BY 1) p
$$;
CREATE FUNCTION startable(p_deliveries planned_delivery[], p_group text) RETURNS uuid[] LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_advisory_xact_lock_shared(fence) FROM (
    SELECT DISTINCT bus_fence(topic, partition) AS fence FROM unnest(p_deliveries) WHERE starter IS NOT NULL ORDER BY 1
  ) f;
  RETURN (
    SELECT array_agg(p.delivery_id) FROM unnest(p_deliveries) p
    WHERE p.starter IS NOT NULL AND EXISTS (
      SELECT FROM bus_cursors c WHERE c.topic = p.topic AND c.consumer_group = p_group AND c.partition = p.partition
        AND c.owner = p.starter AND c.lease_expires_at > clock_timestamp()
    ) AND NOT EXISTS (
      SELECT FROM deliveries d
      WHERE d.channel = p.channel AND d.partition = p.partition AND d.lane_id = p.lane_id AND d.is_pending));
END
$$;

-- Writes deliveries, notes in each lane the conversation of a reply, and publishes what is to be sent and does not start
-- here. `p_accepted` are events that come before those of the deliveries, `p_members` the numbers of members that a request
-- planned for. Returns a row for each started delivery, and one
-- for each channel that has something to send. Locks the heads of the bus, and last that of the feed.
CREATE FUNCTION write_deliveries(
  p_now timestamptz, p_deliveries planned_delivery[], p_group text, p_accepted text DEFAULT NULL,
  p_accepted_count integer DEFAULT 0, p_conversations uuid[] DEFAULT '{}', p_members integer[] DEFAULT '{}'
) RETURNS TABLE (started uuid, channel text) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  starting uuid[];
BEGIN
  -- A request plans before it writes: what it planned with must still be so, and of its workspace.
  IF current_workspace() IS NOT NULL AND (EXISTS (
    SELECT FROM unnest(p_deliveries) p WHERE p.workspace_id <> current_workspace()
      OR NOT EXISTS (
        SELECT FROM members m WHERE m.conversation_id = p.conversation_id AND m.participant_id = p.recipient_id)
      OR p.identifier IS NOT NULL AND NOT EXISTS (
        SELECT FROM addresses a WHERE a.workspace_id = p.workspace_id AND a.channel = p.channel
          AND a.identifier = p.identifier AND a.participant_id = p.recipient_id)
      OR p.channel_account_id IS NOT NULL AND NOT EXISTS (
        SELECT FROM channel_accounts a WHERE a.channel_account_id = p.channel_account_id
          AND a.workspace_id = p.workspace_id AND a.deleted_at IS NULL AND a.status <> 'disabled')
  ) OR EXISTS (
    SELECT FROM unnest(p_conversations, p_members) AS c (conversation_id, members)
    WHERE c.members <> (SELECT count(*) FROM members m WHERE m.conversation_id = c.conversation_id)
  )) THEN
    RAISE serialization_failure USING MESSAGE = 'the plan of these deliveries is out of date';
  END IF;
  IF EXISTS (SELECT FROM unnest(p_deliveries) WHERE starter IS NOT NULL) THEN
    starting := startable(p_deliveries, p_group);
  END IF;
  RETURN QUERY
  WITH input AS MATERIALIZED (
    -- A recipient who read up to here in the app before the message was routed has read this one too.
    SELECT p.*, CASE WHEN r.is_read THEN 'read' WHEN p.delivery_id = ANY (starting) THEN 'in_transit' ELSE p.status END AS first_status,
      CASE WHEN r.is_read THEN p_now END AS read_at,
      CASE WHEN p.delivery_id = ANY (starting) THEN now() END AS attempt_at, p.status = 'accepted' AS is_pending
    FROM unnest(p_deliveries) WITH ORDINALITY AS p (delivery_id, workspace_id, message_id, conversation_id, seq, recipient_id,
      channel, identifier, channel_account_id, lane_id, partition, route, status, error, cause, topic, fallback_after,
      part_count, starter, place)
    CROSS JOIN LATERAL (
      SELECT p.channel = 'app' AND coalesce((
        SELECT m.read_seq >= p.seq FROM members m
        WHERE m.conversation_id = p.conversation_id AND m.participant_id = p.recipient_id), false) AS is_read
    ) r
  ), lane AS MATERIALIZED (
    SELECT DISTINCT ON (i.lane_id) i.*, CASE WHEN a.is_answered_here THEN i.conversation_id END AS answered_in
    FROM input i CROSS JOIN LATERAL (
      SELECT coalesce((SELECT NOT c.settings @> '{"inbound": "quoted"}' FROM conversations c
        WHERE c.conversation_id = i.conversation_id), true) AS is_answered_here
    ) a
    WHERE i.lane_id IS NOT NULL ORDER BY i.lane_id, a.is_answered_here DESC, i.place DESC
  ), served AS (
    INSERT INTO lanes AS l (lane_id, workspace_id, channel_account_id, channel, identifier, partition, last_conversation_id)
    SELECT lane_id, workspace_id, channel_account_id, channel, identifier, partition, answered_in FROM lane
    WHERE NOT EXISTS (SELECT FROM lanes k WHERE k.lane_id = lane.lane_id
      AND (lane.answered_in IS NULL OR k.last_conversation_id IS NOT DISTINCT FROM lane.answered_in))
    ORDER BY lane_id
    ON CONFLICT (lane_id) DO UPDATE SET last_conversation_id = excluded.last_conversation_id
    WHERE excluded.last_conversation_id IS NOT NULL
      AND l.last_conversation_id IS DISTINCT FROM excluded.last_conversation_id
    RETURNING lane_id
  ), written AS (
    INSERT INTO deliveries (delivery_id, workspace_id, message_id, conversation_id, seq, recipient_id, channel, identifier,
      channel_account_id, lane_id, partition, route, status, is_pending, error, is_dead_letter, failed_at, sent_at, delivered_at,
      read_at, fallback_at, history, created_at, part_count, attempts, attempt_started_at, retry_from, started_at)
    SELECT delivery_id, workspace_id, message_id, conversation_id, seq, recipient_id, channel, identifier, channel_account_id,
      lane_id, partition, route, first_status, is_pending, error::jsonb, status = 'failed',
      CASE WHEN status = 'failed' THEN p_now END, read_at, read_at, read_at, now() + make_interval(secs => fallback_after),
      CASE WHEN first_status NOT IN ('accepted', 'in_transit')
        THEN jsonb_build_array(jsonb_build_object('status', first_status, 'at', p_now, 'cause', cause)) END,
      p_now, part_count, (attempt_at IS NOT NULL)::integer, attempt_at, attempt_at, CASE WHEN attempt_at IS NOT NULL THEN p_now END
    FROM input ORDER BY place
    ON CONFLICT (delivery_id) DO NOTHING
    RETURNING *
  ), queued AS MATERIALIZED (
    SELECT w.channel, bus_publish(w.channel || '_outgoing', array_agg(w.partition ORDER BY w.ordinal),
      array_agg(json_build_array(w.lane_id, json_build_object(
        'deliveryId', w.delivery_id, 'accountId', w.channel_account_id, 'ordinal', w.ordinal))::text ORDER BY w.ordinal))
    FROM written w WHERE w.status = 'accepted' GROUP BY w.channel ORDER BY w.channel
  ), published AS MATERIALIZED (
    SELECT append_events(array_agg(workspace_id), array_agg(event_count), array_agg(events)) FROM (
      SELECT workspace_id, sum(event_count)::integer AS event_count, string_agg(events, ',' ORDER BY is_status) AS events FROM (
        SELECT current_workspace() AS workspace_id, p_accepted_count AS event_count, p_accepted AS events, false AS is_status
        WHERE p_accepted IS NOT NULL
        UNION ALL
        SELECT d.workspace_id, count(*)::integer, string_agg(status_event(d.conversation_id, d.message_id, d.delivery_id,
          d.recipient_id, d.channel, d.status::text, d.error, d.sent_at, NULL, d.provider_message_ids[1]), ','
          ORDER BY d.seq, d.delivery_id), true
        FROM written d, (SELECT count(*) FROM queued) q, (SELECT count(*) FROM served) s
        WHERE d.status <> 'accepted' GROUP BY d.workspace_id
      ) events GROUP BY workspace_id
    ) batches HAVING count(*) > 0
  )
  SELECT w.delivery_id, w.channel FROM written w, (SELECT count(*) FROM published) p WHERE w.attempt_started_at IS NOT NULL
  UNION ALL
  SELECT NULL, q.channel FROM queued q, (SELECT count(*) FROM published) p;
END
$$;
CALL run_as_owner('write_deliveries(timestamptz, planned_delivery[], text, text, integer, uuid[], integer[])', 'chat4all_api, chat4all_pipeline');
