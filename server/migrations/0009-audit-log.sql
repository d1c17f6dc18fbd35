-- The audit log: who did what that matters to security, one chain of records for each workspace. The hash of a record
-- covers the record and the hash before it, so whoever edits, removes, inserts or moves one must write all that follow
-- anew. The head holds where the chain ends, so that a cut is seen too. docs/guides/audit-log.md says what is hashed.

CREATE TABLE audit_heads (
  workspace_id uuid PRIMARY KEY REFERENCES workspaces,
  position     bigint NOT NULL,
  hash         bytea NOT NULL
);

CREATE TABLE audit_log (
  workspace_id uuid NOT NULL REFERENCES workspaces,
  -- From 1, without gaps.
  position     bigint NOT NULL,
  -- In whole milliseconds, by the database's clock.
  at           timestamptz NOT NULL,
  actor_kind   text NOT NULL CHECK (actor_kind IN ('user', 'api_key', 'anonymous', 'system')),
  actor_id     uuid,
  action       text NOT NULL,
  target_type  text,
  target_id    text,
  -- Flat: strings, whole numbers, booleans and null.
  details      jsonb NOT NULL,
  ip           text,
  request_id   text,
  hash         bytea NOT NULL,
  PRIMARY KEY (workspace_id, position)
);
CREATE INDEX audit_log_by_action ON audit_log (workspace_id, action, position);
CREATE INDEX audit_log_by_actor ON audit_log (workspace_id, actor_id, position);
CREATE INDEX audit_log_by_target ON audit_log (workspace_id, target_id, position);

-- Adds a record and returns its position. Holds the workspace's head until the commit: a transaction calls it last, so
-- that others wait for its commit alone, and so that two never wait for one another.
CREATE FUNCTION append_to_audit_log(
  p_workspace_id uuid, p_actor_kind text, p_actor_id uuid, p_action text, p_target_type text, p_target_id text,
  p_details jsonb, p_ip text, p_request_id text
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  head audit_heads;
  now_ms timestamptz;
  said text;
BEGIN
  IF current_setting('role') = 'chat4all_api' AND p_workspace_id IS DISTINCT FROM current_workspace() THEN
    RAISE insufficient_privilege USING MESSAGE = 'a request records acts in its own workspace only';
  END IF;
  IF EXISTS (SELECT FROM jsonb_each(p_details) WHERE jsonb_typeof(value) IN ('object', 'array')) THEN
    RAISE invalid_parameter_value USING MESSAGE = 'the details of an act are flat';
  END IF;
  INSERT INTO audit_heads AS h VALUES (p_workspace_id, 0, decode(repeat('00', 32), 'hex'))
    ON CONFLICT (workspace_id) DO UPDATE SET position = h.position
    RETURNING * INTO head;
  head.position := head.position + 1;
  now_ms := date_trunc('milliseconds', clock_timestamp());
  said := '[' || to_json(p_workspace_id::text)::text
    || ',' || head.position
    || ',' || to_json(to_char(now_ms AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'))::text
    || ',' || to_json(p_actor_kind)::text
    || ',' || coalesce(to_json(p_actor_id::text)::text, 'null')
    || ',' || to_json(p_action)::text
    || ',' || coalesce(to_json(p_target_type)::text, 'null')
    || ',' || coalesce(to_json(p_target_id)::text, 'null')
    || ',{' || coalesce((SELECT string_agg(to_json(key)::text || ':' || value::text, ',' ORDER BY key COLLATE "C")
                           FROM jsonb_each(p_details)), '')
    || '},' || coalesce(to_json(p_ip)::text, 'null')
    || ',' || coalesce(to_json(p_request_id)::text, 'null')
    || ']';
  head.hash := sha256(head.hash || convert_to(said, 'UTF8'));
  INSERT INTO audit_log VALUES (p_workspace_id, head.position, now_ms, p_actor_kind, p_actor_id, p_action,
    p_target_type, p_target_id, p_details, p_ip, p_request_id, head.hash);
  UPDATE audit_heads SET position = head.position, hash = head.hash WHERE workspace_id = p_workspace_id;
  RETURN head.position;
END
$$;

-- Every log begins with the workspace itself. A workspace without any record has lost its log.
CREATE FUNCTION begin_audit_log() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM append_to_audit_log(NEW.workspace_id, 'system', NULL, 'audit_log.started', 'workspace',
    NEW.workspace_id::text, '{}', NULL, NULL);
  RETURN NULL;
END
$$;
CREATE TRIGGER begin_audit_log AFTER INSERT ON workspaces FOR EACH ROW EXECUTE FUNCTION begin_audit_log();

CALL run_as_owner('append_to_audit_log(uuid, text, uuid, text, text, text, jsonb, text, text)',
  'chat4all_api, chat4all_identity, chat4all_pipeline');
CALL run_as_owner('begin_audit_log()');

-- Read by workspace; written by the function alone, by whatever role of the hub.
CALL protect_by_workspace('audit_log', 'SELECT');
CALL protect_by_workspace('audit_heads', 'SELECT');
REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON audit_log, audit_heads FROM chat4all_pipeline;
CREATE POLICY of_owner ON audit_log TO CURRENT_USER USING (true) WITH CHECK (true);
CREATE POLICY of_owner ON audit_heads TO CURRENT_USER USING (true) WITH CHECK (true);

-- Workspaces that were there before. The owner does not see them, where it is no superuser.
SET LOCAL ROLE chat4all_pipeline;
SELECT append_to_audit_log(workspace_id, 'system', NULL, 'audit_log.started', 'workspace', workspace_id::text, '{}', NULL, NULL)
  FROM workspaces;
RESET ROLE;
