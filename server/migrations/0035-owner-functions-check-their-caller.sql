-- A function with the rights of the owner checks whom it acts for, because no policy holds in it. These three took a connection
-- without a workspace for one of the pipeline: a request that forgot its workspace could write into all of them. And
-- `write_deliveries` did not check all ids of a plan.

-- Whether the connection acts for all workspaces, as steps, maintenance jobs and the owner do. Any other writes only for
-- the workspace that it names, and nothing without one.
CREATE FUNCTION acts_for_all_workspaces() RETURNS boolean LANGUAGE sql STABLE
RETURN current_workspace() IS NULL AND current_setting('role') IN ('chat4all_pipeline', 'none');

-- As before otherwise.
CREATE OR REPLACE FUNCTION append_events(p_workspaces uuid[], p_counts integer[], p_batches text[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  IF NOT acts_for_all_workspaces() AND (current_workspace() IS NULL OR p_workspaces <> ARRAY[current_workspace()]) THEN
    RAISE insufficient_privilege USING MESSAGE = 'permission denied for events of another workspace';
  END IF;
  WITH batches AS MATERIALIZED (
    SELECT * FROM unnest(p_workspaces, p_counts, p_batches) AS b (workspace_id, event_count, events)
  ), moved AS (
    INSERT INTO event_heads AS h (workspace_id, last_position, last_event_at)
    SELECT workspace_id, event_count, clock_timestamp() FROM batches ORDER BY workspace_id
    ON CONFLICT (workspace_id) DO UPDATE
      SET last_position = h.last_position + excluded.last_position, last_event_at = clock_timestamp()
    RETURNING workspace_id, last_position, last_event_at
  )
  INSERT INTO events (workspace_id, last_position, event_count, events, created_at)
  SELECT workspace_id, m.last_position, b.event_count, '[' || b.events || ']', m.last_event_at
  FROM moved m JOIN batches b USING (workspace_id);
END
$$;
CALL run_as_owner('append_events(uuid[], integer[], text[])', 'chat4all_api, chat4all_pipeline');

-- As before otherwise.
CREATE OR REPLACE FUNCTION bus_append(p_topic text, p_partitions integer[], p_counts integer[], p_batches text[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  appended integer;
BEGIN
  IF NOT acts_for_all_workspaces() AND (current_workspace() IS NULL
     OR p_topic NOT IN ('message_processing', 'inbound') AND p_topic NOT LIKE '%\_outgoing') THEN
    RAISE insufficient_privilege USING MESSAGE = format('a request publishes nothing on the bus topic %s%s', p_topic,
      CASE WHEN current_workspace() IS NULL THEN ' without a workspace' END);
  END IF;
  WITH batches AS MATERIALIZED (
    SELECT * FROM unnest(p_partitions, p_counts, p_batches) AS b (partition, record_count, records)
  ), locked AS MATERIALIZED (
    SELECT partition FROM bus_heads
    WHERE topic = p_topic AND partition = ANY (p_partitions)
    ORDER BY partition FOR UPDATE
  ), moved AS (
    UPDATE bus_heads h SET next_offset = h.next_offset + b.record_count
    FROM batches b JOIN locked USING (partition)
    WHERE h.topic = p_topic AND h.partition = b.partition
    RETURNING h.partition, h.next_offset - 1 AS last_offset, b.record_count, b.records
  )
  INSERT INTO bus_records (segment, topic, partition, last_offset, record_count, records)
  SELECT (SELECT active FROM bus_segments), p_topic, partition, last_offset, record_count, records FROM moved;
  GET DIAGNOSTICS appended = ROW_COUNT;
  IF appended <> cardinality(p_partitions) THEN
    RAISE EXCEPTION 'bus topic % has no such partition', p_topic;
  END IF;
END
$$;
CALL run_as_owner('bus_append(text, integer[], integer[], text[])', 'chat4all_api, chat4all_pipeline');

-- As before, with more checks. The topic is that of the plan.
--
-- Writes deliveries, notes in each lane the conversation of a reply, and publishes what is to be sent and does not start
-- here. `p_accepted` are events that come before those of the deliveries, `p_members` the sorted ids of all members of each
-- conversation that a request planned for. Returns a row for each started delivery, and one for each channel that has
-- something to send. Locks the heads of the bus, and last that of the feed.
--
-- A delivery may start if its consumer still owns the partition, and nothing waits in its lane. A consumer that takes over a
-- partition waits until the transactions that hold its fence have ended (`bus_pass_fence`), and only then looks for what is
-- pending. Every query sees what was committed before it.
CREATE OR REPLACE FUNCTION write_deliveries(
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
  -- A request plans before it writes: what it planned with must still be so, and of its workspace. A message is of the
  -- workspace of its conversation (`names_own_rows`), and so are the members (`keep_members_together`).
  IF NOT acts_for_all_workspaces() AND (EXISTS (
    SELECT FROM unnest(p_conversations, p_members) AS c (conversation_id, members)
    WHERE (SELECT array_agg(m.participant_id ORDER BY m.participant_id) FROM members m WHERE m.conversation_id = c.conversation_id)
      IS DISTINCT FROM c.members::uuid[]
  ) OR EXISTS (
    SELECT FROM unnest(p_deliveries) p WHERE (
      p.workspace_id = workspace AND p.conversation_id = ANY (p_conversations)
      AND (SELECT o.conversation_id = p.conversation_id FROM messages o
        WHERE o.workspace_id = workspace AND o.message_id = p.message_id)
      AND (SELECT true FROM members m WHERE m.conversation_id = p.conversation_id AND m.participant_id = p.recipient_id)
      AND (p.identifier IS NULL OR (
        SELECT a.participant_id = p.recipient_id FROM addresses a
        WHERE a.workspace_id = p.workspace_id AND a.channel = p.channel AND a.identifier = p.identifier))
      AND (p.channel_account_id IS NULL OR (
        SELECT a.workspace_id = workspace AND a.deleted_at IS NULL AND a.status <> 'disabled' FROM channel_accounts a
        WHERE a.channel_account_id = p.channel_account_id))
      AND (p.lane_id IS NULL OR (
        SELECT l.channel_account_id IS NOT DISTINCT FROM p.channel_account_id FROM lanes l WHERE l.lane_id = p.lane_id) IS NOT FALSE)
    ) IS NOT TRUE
  )) THEN
    RAISE serialization_failure USING MESSAGE = 'the plan of these deliveries is out of date, or not of this workspace';
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
    WHERE excluded.last_conversation_id IS NOT NULL AND l.channel_account_id = excluded.channel_account_id
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
    SELECT w.channel, bus_publish((SELECT i.topic FROM input i WHERE i.channel = w.channel LIMIT 1),
      array_agg(w.partition ORDER BY w.ordinal), array_agg(json_build_array(w.lane_id, json_build_object(
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
