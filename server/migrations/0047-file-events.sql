-- What becomes of a file after its upload is an event, so that no client has to poll. In the feed:
--   ["f", conversation|null, uploader, file, "completed"|"rejected"|"deleted"|"described"]
-- `completed` and `rejected`: one that was received or scanned; `described`: its facts are known. A file that was sent has
-- one event for each of its conversations; another is seen by its uploader and by admins.
CREATE FUNCTION tell_files() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM append_events(array_agg(workspace_id), array_agg(event_count), array_agg(events)) FROM (
    SELECT c.workspace_id, count(*)::integer AS event_count, string_agg(json_build_array('f', s.conversation_id, c.uploaded_by,
      c.file_id, c.change)::text, ',' ORDER BY c.file_id, s.conversation_id) AS events
    FROM (
      SELECT n.workspace_id, n.file_id, n.uploaded_by, CASE
        WHEN n.status <> o.status AND (n.status = 'deleted' AND o.status = 'completed'
          OR n.status IN ('completed', 'rejected') AND o.status <> 'uploading') THEN n.status
        WHEN n.status = 'completed' AND (n.width, n.duration_ms, n.pages, n.has_thumbnail)
          IS DISTINCT FROM (o.width, o.duration_ms, o.pages, o.has_thumbnail) THEN 'described'
      END AS change
      FROM written n JOIN replaced o USING (file_id)
    ) c LEFT JOIN file_conversations s USING (file_id)
    WHERE c.change IS NOT NULL
    GROUP BY c.workspace_id
  ) batches HAVING count(*) > 0;
  RETURN NULL;
END
$$;
CREATE TRIGGER tell_files AFTER UPDATE ON files
  REFERENCING OLD TABLE AS replaced NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION tell_files();
