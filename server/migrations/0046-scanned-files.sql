-- `scanning`: all bytes are stored and were checked, and wait for the malware scan. They count for FILES_QUOTA.
ALTER TABLE files
  DROP CONSTRAINT files_status_check,
  ADD CONSTRAINT files_status_check
    CHECK (status IN ('uploading', 'receiving', 'scanning', 'completed', 'rejected', 'deleted'));
CREATE OR REPLACE FUNCTION count_files() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  counts constant text[] := ARRAY['uploading', 'scanning', 'completed'];
  before integer := CASE WHEN TG_OP <> 'INSERT' AND OLD.status = ANY (counts) THEN 1 ELSE 0 END;
  after integer := CASE WHEN TG_OP <> 'DELETE' AND NEW.status = ANY (counts) THEN 1 ELSE 0 END;
BEGIN
  IF before <> after THEN
    INSERT INTO file_usage AS u (workspace_id, files, bytes)
    VALUES (coalesce(NEW.workspace_id, OLD.workspace_id), after - before, (after - before) * coalesce(NEW.bytes, OLD.bytes))
    ON CONFLICT (workspace_id) DO UPDATE SET files = u.files + excluded.files, bytes = u.bytes + excluded.bytes;
  END IF;
  RETURN NULL;
END
$$;
CALL run_as_owner('count_files()');
