-- Statements that change a message or a delivery append its events themselves (`events/publish.ts`), in place of triggers
-- that compared the rows before and after: those copied every changed row twice for a few short events.
--
-- `status_before` is the status before the last update that set it. An update reads it from the locked row, so that two
-- updates of one delivery at a time publish each change once; PostgreSQL before 18 returns no old values.
--
-- What changes a conversation or its members still has triggers: that happens in transactions of many statements.

ALTER TABLE deliveries ADD COLUMN status_before delivery_status;
GRANT UPDATE (status_before) ON deliveries TO chat4all_api;

DROP TRIGGER tell_messages ON messages;
DROP TRIGGER tell_new_deliveries ON deliveries;
DROP TRIGGER tell_deliveries ON deliveries;
DROP FUNCTION tell_messages();
DROP FUNCTION tell_new_deliveries();
DROP FUNCTION tell_deliveries();

-- As before. A request appends to the feed of its own workspace only.
CREATE OR REPLACE FUNCTION append_events(p_workspaces uuid[], p_counts integer[], p_batches text[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  IF current_workspace() IS NOT NULL AND p_workspaces <> ARRAY[current_workspace()] THEN
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
