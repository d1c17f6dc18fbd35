-- Statements look single rows up. `EXISTS` in an expression may instead become a scan of the whole table, or of all rows of
-- the workspace, which PostgreSQL keeps in memory for the statement: that is its plan while the table is small, and a
-- connection keeps its plans. A scalar subquery is a look-up by an index in any plan.

-- The rows that policies look for have a unique key.
DO $$
DECLARE
  policy record;
BEGIN
  FOR policy IN
    SELECT p.polname, p.polrelid::regclass AS of_table, e.* FROM pg_policy p CROSS JOIN LATERAL (
      SELECT regexp_replace(pg_get_expr(polqual, polrelid), 'EXISTS \( SELECT\s+FROM', 'true = ( SELECT true FROM', 'g') AS using_,
        regexp_replace(pg_get_expr(polwithcheck, polrelid), 'EXISTS \( SELECT\s+FROM', 'true = ( SELECT true FROM', 'g') AS check_
    ) e WHERE concat(pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)) LIKE '%EXISTS%'
      AND p.polrelid IN (SELECT oid FROM pg_class WHERE relnamespace = current_schema()::regnamespace)
  LOOP
    EXECUTE format('ALTER POLICY %I ON %s', policy.polname, policy.of_table)
      || coalesce(' USING (' || policy.using_ || ')', '') || coalesce(' WITH CHECK (' || policy.check_ || ')', '');
  END LOOP;
END
$$;

DROP FUNCTION write_deliveries(timestamptz, planned_delivery[], text, text, integer, uuid[], integer[]);
DROP FUNCTION startable(planned_delivery[], text);

-- Writes deliveries, notes in each lane the conversation of a reply, and publishes what is to be sent and does not start
-- here. `p_accepted` are events that come before those of the deliveries, `p_members` the sorted ids of all members of each
-- conversation that a request planned for. Returns a row for each started delivery, and one for each channel that has
-- something to send. Locks the heads of the bus, and last that of the feed.
--
-- A delivery may start if its consumer still owns the partition, and nothing waits in its lane. A consumer that takes over a
-- partition waits until the transactions that hold its fence have ended (`bus_pass_fence`), and only then looks for what is
-- pending. Every query sees what was committed before it.
CREATE FUNCTION write_deliveries(
  p_now timestamptz, p_deliveries planned_delivery[], p_group text, p_accepted text DEFAULT NULL,
  p_accepted_count integer DEFAULT 0, p_conversations uuid[] DEFAULT '{}', p_members text[] DEFAULT '{}'
) RETURNS TABLE (started uuid, channel text) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  workspace uuid := current_workspace();
BEGIN
  PERFORM pg_advisory_xact_lock_shared(fence) FROM (
    SELECT DISTINCT bus_fence(topic, partition) AS fence FROM unnest(p_deliveries) WHERE starter IS NOT NULL ORDER BY 1
  ) f;
  -- A request plans before it writes: what it planned with must still be so, and of its workspace.
  IF workspace IS NOT NULL AND (EXISTS (
    SELECT FROM unnest(p_conversations, p_members) AS c (conversation_id, members)
    WHERE (SELECT array_agg(m.participant_id ORDER BY m.participant_id) FROM members m WHERE m.conversation_id = c.conversation_id)
      IS DISTINCT FROM c.members::uuid[]
  ) OR EXISTS (
    SELECT FROM unnest(p_deliveries) p WHERE (
      p.workspace_id = workspace AND p.conversation_id = ANY (p_conversations)
      AND (SELECT true FROM members m WHERE m.conversation_id = p.conversation_id AND m.participant_id = p.recipient_id)
      AND (p.identifier IS NULL OR (
        SELECT a.participant_id = p.recipient_id FROM addresses a
        WHERE a.workspace_id = p.workspace_id AND a.channel = p.channel AND a.identifier = p.identifier))
      AND (p.channel_account_id IS NULL OR (
        SELECT a.workspace_id = workspace AND a.deleted_at IS NULL AND a.status <> 'disabled' FROM channel_accounts a
        WHERE a.channel_account_id = p.channel_account_id))
    ) IS NOT TRUE
  )) THEN
    RAISE serialization_failure USING MESSAGE = 'the plan of these deliveries is out of date';
  END IF;
  RETURN QUERY
  WITH input AS MATERIALIZED (
    -- A recipient who read up to here in the app before the message was routed has read this one too.
    SELECT p.*, CASE WHEN r.is_read THEN 'read' WHEN s.is_starting THEN 'in_transit' ELSE p.status END AS first_status,
      CASE WHEN r.is_read THEN p_now END AS read_at, CASE WHEN s.is_starting THEN now() END AS attempt_at,
      p.status = 'accepted' AS is_pending
    FROM unnest(p_deliveries) WITH ORDINALITY AS p (delivery_id, workspace_id, message_id, conversation_id, seq, recipient_id,
      channel, identifier, channel_account_id, lane_id, partition, route, status, error, cause, topic, fallback_after,
      part_count, starter, place)
    CROSS JOIN LATERAL (
      SELECT p.channel = 'app' AND coalesce((
        SELECT m.read_seq >= p.seq FROM members m
        WHERE m.conversation_id = p.conversation_id AND m.participant_id = p.recipient_id), false) AS is_read OFFSET 0
    ) r
    CROSS JOIN LATERAL (
      SELECT p.starter IS NOT NULL AND (
        SELECT c.owner = p.starter AND c.lease_expires_at > clock_timestamp() FROM bus_cursors c
        WHERE c.topic = p.topic AND c.consumer_group = p_group AND c.partition = p.partition
      ) AND (
        SELECT true FROM deliveries d
        WHERE d.channel = p.channel AND d.partition = p.partition AND d.lane_id = p.lane_id AND d.is_pending LIMIT 1
      ) IS NULL AS is_starting OFFSET 0
    ) s
  ), lane AS MATERIALIZED (
    SELECT DISTINCT ON (i.lane_id) i.*, CASE WHEN a.is_answered_here THEN i.conversation_id END AS answered_in
    FROM input i CROSS JOIN LATERAL (
      SELECT coalesce((SELECT NOT c.settings @> '{"inbound": "quoted"}' FROM conversations c
        WHERE c.conversation_id = i.conversation_id), true) AS is_answered_here OFFSET 0
    ) a
    WHERE i.lane_id IS NOT NULL ORDER BY i.lane_id, a.is_answered_here DESC, i.place DESC
  ), served AS (
    INSERT INTO lanes AS l (lane_id, workspace_id, channel_account_id, channel, identifier, partition, last_conversation_id)
    SELECT lane_id, workspace_id, channel_account_id, channel, identifier, partition, answered_in FROM lane
    WHERE (SELECT lane.answered_in IS NULL OR k.last_conversation_id IS NOT DISTINCT FROM lane.answered_in
      FROM lanes k WHERE k.lane_id = lane.lane_id) IS NOT TRUE
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
    RETURNING delivery_id, workspace_id, message_id, conversation_id, seq, recipient_id, channel, channel_account_id, lane_id,
      partition, ordinal, status, error, sent_at, attempt_started_at
  ), queued AS MATERIALIZED (
    SELECT w.channel, bus_publish(w.channel || '_outgoing', array_agg(w.partition ORDER BY w.ordinal),
      array_agg(json_build_array(w.lane_id, json_build_object(
        'deliveryId', w.delivery_id, 'accountId', w.channel_account_id, 'ordinal', w.ordinal))::text ORDER BY w.ordinal))
    FROM written w WHERE w.status = 'accepted' GROUP BY w.channel ORDER BY w.channel
  ), published AS MATERIALIZED (
    SELECT append_events(array_agg(workspace_id), array_agg(event_count), array_agg(events)) FROM (
      SELECT workspace_id, sum(event_count)::integer AS event_count, string_agg(events, ',' ORDER BY is_status) AS events FROM (
        SELECT workspace AS workspace_id, p_accepted_count AS event_count, p_accepted AS events, false AS is_status
        WHERE p_accepted IS NOT NULL
        UNION ALL
        SELECT d.workspace_id, count(*)::integer, string_agg(status_event(d.conversation_id, d.message_id, d.delivery_id,
          d.recipient_id, d.channel, d.status::text, d.error, d.sent_at, NULL, NULL), ',' ORDER BY d.seq, d.delivery_id), true
        FROM written d, (SELECT count(*) FROM queued) q, (SELECT count(*) FROM served) s
        WHERE d.status <> 'accepted' GROUP BY d.workspace_id
      ) events GROUP BY workspace_id
    ) batches HAVING count(*) > 0
  ), done AS MATERIALIZED (
    SELECT count(*) FROM published
  )
  SELECT w.delivery_id, w.channel FROM done, written w WHERE w.attempt_started_at IS NOT NULL
  UNION ALL
  SELECT NULL, q.channel FROM done, queued q;
END
$$;
CALL run_as_owner('write_deliveries(timestamptz, planned_delivery[], text, text, integer, uuid[], text[])', 'chat4all_api, chat4all_pipeline');
