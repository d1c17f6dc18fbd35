-- When a conversation was last active: its last message, or its beginning. Every message moves it, so it is in no index; what
-- is indexed changes once a minute at the most, and the other updates of the row stay within its page (HOT).
ALTER TABLE conversations ADD COLUMN active_at timestamptz NOT NULL DEFAULT date_trunc('milliseconds', now());
UPDATE conversations c SET active_at = coalesce(
  (SELECT m.created_at FROM messages m WHERE m.conversation_id = c.conversation_id AND m.seq = c.last_seq), c.created_at);
ALTER TABLE conversations ADD COLUMN active_minute integer NOT NULL
  GENERATED ALWAYS AS (floor(extract(epoch FROM active_at AT TIME ZONE 'UTC') / 60)::integer) STORED;
CREATE INDEX conversations_by_activity ON conversations (workspace_id, active_minute DESC);

-- The plain values in the metadata of contacts, so that a contact is found by one of them. Row-level security lets the index
-- of a jsonb column help no request. `entry` stands for key and value together.
CREATE TABLE contact_metadata (
  workspace_id uuid NOT NULL,
  entry        uuid NOT NULL,
  contact_id   uuid NOT NULL REFERENCES contacts ON DELETE CASCADE,
  PRIMARY KEY (workspace_id, entry, contact_id)
);
CREATE INDEX contact_metadata_by_contact ON contact_metadata (contact_id);
CALL protect_by_workspace('contact_metadata', 'SELECT');

CREATE FUNCTION metadata_entry(p_key text, p_value text) RETURNS uuid LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN md5(json_build_array(p_key, p_value)::text)::uuid;

CREATE FUNCTION index_contact_metadata() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'UPDATE' THEN
    DELETE FROM contact_metadata WHERE contact_id = NEW.contact_id;
  END IF;
  INSERT INTO contact_metadata (workspace_id, entry, contact_id)
  SELECT NEW.workspace_id, metadata_entry(key, value), NEW.contact_id
  FROM jsonb_each_text(NEW.metadata) WHERE jsonb_typeof(NEW.metadata -> key) IN ('string', 'number', 'boolean');
  RETURN NULL;
END
$$;
CREATE TRIGGER index_new_contact_metadata AFTER INSERT ON contacts FOR EACH ROW
  WHEN (NEW.metadata <> '{}') EXECUTE FUNCTION index_contact_metadata();
CREATE TRIGGER index_contact_metadata AFTER UPDATE OF metadata ON contacts FOR EACH ROW
  WHEN (OLD.metadata <> NEW.metadata) EXECUTE FUNCTION index_contact_metadata();
CALL run_as_owner('index_contact_metadata()');
INSERT INTO contact_metadata (workspace_id, entry, contact_id)
SELECT workspace_id, metadata_entry(key, value), contact_id FROM contacts, jsonb_each_text(metadata)
WHERE jsonb_typeof(metadata -> key) IN ('string', 'number', 'boolean');
