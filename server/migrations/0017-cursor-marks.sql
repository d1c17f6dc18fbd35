-- A cursor carries a mark of its event, so that a cursor of a feed that a restored backup has replaced is found out: the
-- feed may have grown past its position since, with other events. The mark is the microsecond in which the event was
-- written, modulo a bound (see `events/cursor.ts`). A feed keeps the time of its newest event here, so that a reader that
-- has everything can be checked when the event itself was cleared away.
ALTER TABLE event_heads ADD COLUMN last_event_at timestamptz;
UPDATE event_heads h SET last_event_at = e.created_at
FROM events e WHERE e.workspace_id = h.workspace_id AND e.last_position = h.last_position;

-- As before, and both rows have the same time: it is taken under the lock of the head, so it does not go back.
CREATE OR REPLACE FUNCTION append_events(p_workspaces uuid[], p_counts integer[], p_batches text[]) RETURNS void
LANGUAGE sql AS $$
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
  FROM moved m JOIN batches b USING (workspace_id)
$$;
CALL run_as_owner('append_events(uuid[], integer[], text[])');
