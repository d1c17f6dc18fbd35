-- Files: what was uploaded. The bytes are in the object store, under `<workspace_id>/<file_id>`.
CREATE TABLE files (
  file_id         uuid PRIMARY KEY,
  workspace_id    uuid NOT NULL,
  -- The participant who uploaded it.
  uploaded_by     uuid NOT NULL,
  filename        text NOT NULL,
  bytes           bigint NOT NULL CHECK (bytes BETWEEN 0 AND 2147483648),
  -- As the uploader says until the file is completed, then as its bytes say.
  content_type    text,
  -- In hexadecimal digits: see `checksum` in the contract. As the uploader says until the file is completed.
  checksum        text,
  status          text NOT NULL CHECK (status IN ('uploading', 'completed', 'rejected', 'deleted')),
  error           jsonb,
  -- Whose members see it once it is completed.
  conversation_id uuid,
  -- Of the upload in parts, while there is one.
  upload_id       text,
  part_bytes      integer NOT NULL CHECK (part_bytes > 0),
  created_at      timestamptz NOT NULL,
  completed_at    timestamptz,
  -- An upload that is not completed by then is given up.
  expires_at      timestamptz,
  -- Its object, if there is one, is deleted by maintenance.
  object_left     boolean NOT NULL DEFAULT true,
  UNIQUE (workspace_id, file_id),
  FOREIGN KEY (workspace_id, uploaded_by) REFERENCES participants (workspace_id, participant_id)
);
CREATE INDEX files_of_uploader ON files (workspace_id, uploaded_by, created_at DESC, file_id DESC) WHERE status <> 'deleted';
CREATE INDEX files_expiring ON files (expires_at) WHERE status = 'uploading';
CREATE INDEX files_to_remove ON files (file_id) WHERE status IN ('rejected', 'deleted') AND object_left;
CALL protect_by_workspace('files', 'SELECT, INSERT');
GRANT UPDATE (status, error, content_type, checksum, upload_id, completed_at, expires_at, object_left) ON files TO chat4all_api;
CREATE POLICY names_own_rows ON files AS RESTRICTIVE FOR INSERT TO chat4all_api WITH CHECK (
  conversation_id IS NULL OR EXISTS (SELECT FROM conversations c WHERE c.conversation_id = files.conversation_id));

-- The conversations whose members may read a file.
CREATE TABLE file_conversations (
  file_id         uuid NOT NULL,
  workspace_id    uuid NOT NULL,
  conversation_id uuid NOT NULL REFERENCES conversations,
  PRIMARY KEY (file_id, conversation_id),
  FOREIGN KEY (workspace_id, file_id) REFERENCES files (workspace_id, file_id) ON DELETE CASCADE
);
CALL protect_by_workspace('file_conversations', 'SELECT, INSERT');
CREATE POLICY names_own_rows ON file_conversations AS RESTRICTIVE FOR INSERT TO chat4all_api WITH CHECK (
  EXISTS (SELECT FROM conversations c WHERE c.conversation_id = file_conversations.conversation_id));

-- What a workspace's files take: those that are being uploaded with the size that they will have.
CREATE TABLE file_usage (
  workspace_id uuid PRIMARY KEY REFERENCES workspaces,
  files        bigint NOT NULL DEFAULT 0,
  bytes        bigint NOT NULL DEFAULT 0
);
CALL protect_by_workspace('file_usage', 'SELECT');
CREATE FUNCTION count_files() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  counts constant text[] := ARRAY['uploading', 'completed'];
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
CREATE TRIGGER count_files AFTER INSERT OR UPDATE OF status OR DELETE ON files FOR EACH ROW EXECUTE FUNCTION count_files();
