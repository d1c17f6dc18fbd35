-- What becomes of a user's task is an event, seen by the user and by admins. In the feed:
--   ["t", user, task, kind, file|null, options, status, progress, error|null, created at, started at|null, finished at|null]
-- An event says what the task was then. The hub's own work has no events.
CREATE FUNCTION tell_tasks() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    PERFORM append_events(array_agg(workspace_id), array_agg(event_count), array_agg(events)) FROM (
      SELECT n.workspace_id, count(*)::integer AS event_count, string_agg(task_event(n.user_id, n.task_id, n.kind, n.file_id, n.options,
        n.status, n.progress, n.error, n.created_at, n.started_at, n.finished_at), ',' ORDER BY n.task_id) AS events
      FROM written n WHERE n.user_id IS NOT NULL GROUP BY n.workspace_id
    ) batches HAVING count(*) > 0;
  ELSE
    PERFORM append_events(array_agg(workspace_id), array_agg(event_count), array_agg(events)) FROM (
      SELECT n.workspace_id, count(*)::integer AS event_count, string_agg(task_event(n.user_id, n.task_id, n.kind, n.file_id, n.options,
        n.status, n.progress, n.error, n.created_at, n.started_at, n.finished_at), ',' ORDER BY n.task_id) AS events
      FROM written n JOIN replaced o USING (task_id)
      WHERE n.user_id IS NOT NULL AND (n.status, n.progress, n.waits) IS DISTINCT FROM (o.status, o.progress, o.waits)
      GROUP BY n.workspace_id
    ) batches HAVING count(*) > 0;
  END IF;
  RETURN NULL;
END
$$;
CREATE FUNCTION task_event(
  p_user uuid, p_task uuid, p_kind text, p_file uuid, p_options jsonb, p_status text, p_progress smallint, p_error jsonb,
  p_created timestamptz, p_started timestamptz, p_finished timestamptz
) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT json_build_array('t', p_user, p_task, p_kind, p_file, p_options, p_status, p_progress, p_error, p_created, p_started, p_finished)::text
$$;
-- The workspaces of one statement are locked in one order.
CREATE TRIGGER tell_new_tasks AFTER INSERT ON tasks
  REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION tell_tasks();
CREATE TRIGGER tell_changed_tasks AFTER UPDATE ON tasks
  REFERENCING OLD TABLE AS replaced NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION tell_tasks();
