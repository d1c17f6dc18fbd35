-- The audit trail of an ordinary delivery (routed, started, sent, delivered, read) is in columns, and its one attempt is in
-- a row with others of its workspace: to rewrite a growing list of changes with each status cost a third of the
-- write-ahead log.
--
-- `started_at` is when the first attempt was recorded. `sent_by` is the batch of the attempt that was sent, `delivered_by`
-- and `read_by` the webhook with the receipt; in the app, `delivered_by` is the user whose socket took it. What is out of
-- the ordinary (a failure, a replay, a receipt before the response) moves all of that to `history`, with the change itself,
-- and clears these columns, but for `sent_by`, which also finds the attempt. Deliveries of earlier versions keep the
-- history that they have.

ALTER TABLE deliveries ALTER COLUMN history DROP NOT NULL,
  ADD COLUMN started_at timestamptz, ADD COLUMN sent_by uuid, ADD COLUMN delivered_by uuid, ADD COLUMN read_by uuid;
GRANT UPDATE (started_at, sent_by) ON deliveries TO chat4all_api;

-- Attempts that sent their delivery, as they were recorded together: a list of objects with `delivery_id`, `number`,
-- `started_at`, `finished_at` and `exchanges`. All others are in `attempts`.
CREATE TABLE attempt_batches (
  batch_id     uuid NOT NULL,
  workspace_id uuid NOT NULL,
  attempts     json NOT NULL,
  PRIMARY KEY (batch_id, workspace_id)
);
CALL protect_by_workspace('attempt_batches', 'SELECT');
CREATE POLICY names_own_rows ON deliveries AS RESTRICTIVE FOR UPDATE TO chat4all_api USING (true) WITH CHECK (
  sent_by IS NULL OR EXISTS (SELECT FROM attempt_batches b WHERE b.batch_id = deliveries.sent_by));

-- When an id (UUIDv7) was made.
CREATE FUNCTION time_of_id(p_id uuid) RETURNS timestamptz LANGUAGE sql IMMUTABLE AS $$
  SELECT to_timestamp((('x' || left(replace(p_id::text, '-', ''), 12))::bit(48)::bigint) / 1000.0)
$$;

-- Every change of status, oldest first.
CREATE FUNCTION delivery_history(d deliveries) RETURNS jsonb LANGUAGE sql STABLE AS $$
  SELECT coalesce(d.history, jsonb_build_array(jsonb_build_object('at', d.created_at) || CASE d.channel
      WHEN 'app' THEN '{"status": "in_transit", "cause": "waits in the app"}'
      ELSE '{"status": "accepted", "cause": "routed"}'::jsonb END))
    || CASE WHEN d.started_at IS NULL THEN '[]'
      ELSE jsonb_build_object('status', 'in_transit', 'at', d.started_at, 'cause', 'attempt 1 started') END
    || CASE WHEN d.sent_by IS NULL OR d.history #>> '{-1,status}' NOT IN ('accepted', 'in_transit') THEN '[]'
      ELSE jsonb_build_object('status', 'sent', 'at', d.sent_at, 'cause', 'attempt ' || d.attempts || ' got a response') END
    || CASE WHEN d.delivered_by IS NULL THEN '[]'
      WHEN d.channel = 'app' THEN jsonb_build_object('status', 'delivered', 'at', d.delivered_at,
        'cause', 'a socket took it', 'user_id', d.delivered_by)
      ELSE jsonb_build_object('status', 'delivered', 'at', time_of_id(d.delivered_by), 'cause', 'receipt',
        'webhook_id', d.delivered_by, 'platform_at', d.delivered_at) END
    || CASE
      WHEN d.channel = 'app' AND d.read_at IS NOT NULL AND d.history #>> '{-1,status}' IS DISTINCT FROM 'read'
      THEN jsonb_build_object('status', 'read', 'at', d.read_at, 'cause', 'read in the app')
      WHEN d.read_by IS NULL THEN '[]'
      ELSE jsonb_build_object('status', 'read', 'at', time_of_id(d.read_by), 'cause', 'receipt',
        'webhook_id', d.read_by, 'platform_at', d.read_at) END
$$;

-- All attempts of a delivery, in no order.
CREATE FUNCTION attempts_of(d deliveries) RETURNS SETOF attempts LANGUAGE sql STABLE AS $$
  SELECT * FROM attempts WHERE delivery_id = d.delivery_id
  UNION ALL
  SELECT a.delivery_id, a.number, a.started_at, a.finished_at, 'sent', a.exchanges, NULL
  FROM attempt_batches b CROSS JOIN LATERAL json_to_recordset(b.attempts) AS a (
    delivery_id uuid, number integer, started_at timestamptz, finished_at timestamptz, exchanges json)
  WHERE b.workspace_id = d.workspace_id AND a.delivery_id = d.delivery_id AND b.batch_id IN (
    SELECT d.sent_by UNION SELECT (entry ->> 'attempt_batch_id')::uuid FROM jsonb_array_elements(d.history) AS entry)
$$;

-- The status of a text in parts: failed when a part is, else the lowest of its parts once all have one. Null before.
CREATE FUNCTION status_of_parts(p_ids text[], p_part_count integer, p_receipts jsonb) RETURNS delivery_status
LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE
    WHEN bool_or(status = 'failed') THEN 'failed'
    WHEN count(status) >= p_part_count THEN min(status)
  END FROM (SELECT (p_receipts ->> id)::delivery_status AS status FROM unnest(p_ids) AS id) parts
$$;
