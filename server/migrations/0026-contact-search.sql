-- What contacts are found by: names and addresses, in one spelling, by any part of them.
--
-- The index is of our own, and not `pg_trgm`: an extension is of the whole database, may need rights that the user of
-- DATABASE_URL has not, and row-level security lets its operators help no request. Three characters in a row make a gram;
-- the workspace is part of it, so that a search reads entries of its workspace only.

-- One spelling for what looks alike: however letters are composed (NFC, NFD, wide forms), without accents and case.
CREATE FUNCTION search_text(p_text text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN lower(regexp_replace(normalize(p_text, NFKD), '[\u0300-\u036F]', '', 'g'));

-- What a formatted phone number says: its digits. Null for what is none, or has fewer than three.
CREATE FUNCTION phone_digits(p_text text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN p_text ~ '^[-+0-9 ().\/\u00A0\u2010-\u2015]*$' AND length(regexp_replace(p_text, '\D', '', 'g')) >= 3
  THEN regexp_replace(p_text, '\D', '', 'g') END;

-- The grams of each line; null when no line has three characters.
CREATE FUNCTION search_grams(p_workspace uuid, p_lines text) RETURNS bigint[] LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (
  SELECT array_agg(DISTINCT hashtextextended(p_workspace || gram, 0))
  FROM string_to_table(p_lines, E'\n') AS line CROSS JOIN LATERAL (
    SELECT c || lead(c) OVER (ORDER BY place) || lead(c, 2) OVER (ORDER BY place) AS gram
    FROM string_to_table(line, NULL) WITH ORDINALITY AS t (c, place)) AS grams
  WHERE gram IS NOT NULL);

-- A row for each contact that is not deleted. `lines`: its name and its addresses.
CREATE TABLE contact_search (
  contact_id   uuid PRIMARY KEY,
  workspace_id uuid NOT NULL,
  created_at   timestamptz NOT NULL,
  lines        text NOT NULL,
  grams        bigint[] NOT NULL
);
CREATE INDEX contact_search_by_grams ON contact_search USING gin (grams);
-- For one or two characters, which many contacts have: the newest are read until enough are found.
CREATE INDEX contact_search_by_age ON contact_search (workspace_id, created_at DESC, contact_id DESC);
CALL protect_by_workspace('contact_search', 'SELECT');
CALL keep_within_workspace('contact_search', 'contact_id', 'contacts', 'contact_id', 'ON DELETE CASCADE');

CREATE FUNCTION index_contacts(p_contacts uuid[]) RETURNS void LANGUAGE sql AS $$
  DELETE FROM contact_search s USING participants p
  WHERE s.contact_id = ANY (p_contacts) AND p.participant_id = s.contact_id AND p.deleted_at IS NOT NULL;
  INSERT INTO contact_search AS s (contact_id, workspace_id, created_at, lines, grams)
  SELECT c.contact_id, c.workspace_id, c.created_at, t.lines, coalesce(search_grams(c.workspace_id, t.lines), '{}')
  FROM contacts c JOIN participants p ON p.participant_id = c.contact_id CROSS JOIN LATERAL (
    SELECT search_text(concat_ws(E'\n', p.display_name, (
      SELECT string_agg(a.channel || ':' || a.identifier, E'\n' ORDER BY a.ordinal) FROM addresses a
      WHERE a.participant_id = c.contact_id))) AS lines
  ) t
  WHERE c.contact_id = ANY (p_contacts) AND p.deleted_at IS NULL ORDER BY c.contact_id
  ON CONFLICT (contact_id) DO UPDATE SET lines = excluded.lines, grams = excluded.grams
    WHERE s.lines <> excluded.lines
$$;
CALL run_as_owner('index_contacts(uuid[])');

CREATE FUNCTION index_written_contacts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM index_contacts(array_agg(contact_id)) FROM written;
  RETURN NULL;
END
$$;
CREATE FUNCTION index_written_addresses() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM index_contacts(array_agg(DISTINCT participant_id)) FROM written;
  RETURN NULL;
END
$$;
CREATE FUNCTION index_changed_address() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM index_contacts(ARRAY[OLD.participant_id, NEW.participant_id]);
  RETURN NULL;
END
$$;
CREATE FUNCTION index_changed_participant() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM index_contacts(ARRAY[NEW.participant_id]);
  RETURN NULL;
END
$$;
CALL run_as_owner('index_written_contacts()');
CALL run_as_owner('index_written_addresses()');
CALL run_as_owner('index_changed_address()');
CALL run_as_owner('index_changed_participant()');
CREATE TRIGGER index_new_contacts AFTER INSERT ON contacts
  REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION index_written_contacts();
CREATE TRIGGER index_new_addresses AFTER INSERT ON addresses
  REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION index_written_addresses();
CREATE TRIGGER index_removed_addresses AFTER DELETE ON addresses
  REFERENCING OLD TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION index_written_addresses();
CREATE TRIGGER index_moved_address AFTER UPDATE OF participant_id ON addresses
  FOR EACH ROW WHEN (OLD.participant_id <> NEW.participant_id) EXECUTE FUNCTION index_changed_address();
CREATE TRIGGER index_changed_contact AFTER UPDATE OF display_name, deleted_at ON participants
  FOR EACH ROW WHEN (NEW.kind = 'contact' AND (OLD.display_name, OLD.deleted_at) IS DISTINCT FROM (NEW.display_name, NEW.deleted_at))
  EXECUTE FUNCTION index_changed_participant();

-- Contacts of the connection's workspace that have the text in their name or in an address, newest first; a formatted phone
-- number finds its digits too. `p_limit` null: all.
CREATE FUNCTION find_contacts(p_text text, p_before timestamptz, p_before_id uuid, p_limit integer) RETURNS SETOF uuid
LANGUAGE plpgsql STABLE ROWS 50 SET enable_seqscan = off SET enable_bitmapscan = on AS $$
DECLARE
  sought text := search_text(p_text);
  digits text := phone_digits(p_text);
  grams_of_text bigint[] := search_grams(current_workspace(), left(sought, 100));
  grams_of_digits bigint[] := search_grams(current_workspace(), digits);
BEGIN
  IF grams_of_text IS NULL THEN
    RETURN QUERY SELECT s.contact_id FROM contact_search s
    WHERE s.workspace_id = current_workspace() AND position(sought IN s.lines) > 0
      AND (p_before IS NULL OR (s.created_at, s.contact_id) < (p_before, p_before_id))
    ORDER BY s.created_at DESC, s.contact_id DESC LIMIT p_limit;
    RETURN;
  END IF;
  -- By the index alone, and all of what it finds: counting on an early end, the planner would read contacts by age.
  RETURN QUERY WITH found AS MATERIALIZED (
    SELECT s.workspace_id, s.contact_id, s.created_at FROM contact_search s
    WHERE s.grams @> grams_of_text AND position(sought IN s.lines) > 0
    UNION
    SELECT s.workspace_id, s.contact_id, s.created_at FROM contact_search s
    WHERE grams_of_digits IS NOT NULL AND s.grams @> grams_of_digits AND position(digits IN s.lines) > 0
  )
  SELECT f.contact_id FROM found f
  WHERE f.workspace_id = current_workspace()
    AND (p_before IS NULL OR (f.created_at, f.contact_id) < (p_before, p_before_id))
  ORDER BY f.created_at DESC, f.contact_id DESC LIMIT p_limit;
END
$$;
CALL run_as_owner('find_contacts(text, timestamptz, uuid, integer)', 'chat4all_api');

DO $$
BEGIN
  PERFORM index_contacts(array_agg(contact_id)) FROM contacts GROUP BY workspace_id;
END
$$;
ALTER TABLE contact_search VALIDATE CONSTRAINT contact_search_contact_id_of_workspace;
