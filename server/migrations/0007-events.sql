-- The feed: one ordered list of events for each workspace, which sockets, SSE, GET /v1/events and webhook endpoints read.
--
-- Events are written in the transaction that causes them, by triggers: whatever changes a message, a delivery or a
-- conversation, in whatever way, is told. Positions are taken from the workspace's head under its row lock, which is the last
-- lock that a transaction takes and is held until it commits. So positions are gapless and become visible in order: a reader
-- never skips an event of a slower transaction, and one whose next event is not the next position knows that it missed some.
-- Keep it the last lock: publish on the bus before the statement whose trigger tells.

CREATE TABLE event_heads (
  workspace_id  uuid PRIMARY KEY,
  last_position bigint NOT NULL
) WITH (fillfactor = 10);

-- One row for each statement that told something. `events` is a JSON array of compact events, oldest first, of which the
-- last one has `last_position`:
--   ["m", conversation, message]                                                    a message was accepted
--   ["s", conversation, message, delivery, recipient, channel, status, error|null]  a delivery's status changed
--   ["c", conversation, "created"|"updated", participant who left|null]             a conversation changed
--   ["w", webhook endpoint, status, reason]                                         a webhook endpoint was disabled or enabled
-- What does not change afterwards, a message's words, is read from its own table when the event is told.
CREATE TABLE events (
  workspace_id  uuid NOT NULL,
  last_position bigint NOT NULL,
  event_count   integer NOT NULL,
  events        text NOT NULL,
  created_at    timestamptz NOT NULL,
  PRIMARY KEY (workspace_id, last_position)
);
CREATE INDEX events_by_age ON events USING brin (created_at);

CALL protect_by_workspace('event_heads', 'SELECT');
CALL protect_by_workspace('events', 'SELECT');

-- Appends batches of events, one for each workspace; `p_batches` are their JSON without the brackets around them.
CREATE FUNCTION append_events(p_workspaces uuid[], p_counts integer[], p_batches text[]) RETURNS void
LANGUAGE sql AS $$
  WITH batches AS MATERIALIZED (
    SELECT * FROM unnest(p_workspaces, p_counts, p_batches) AS b (workspace_id, event_count, events)
  ), moved AS (
    INSERT INTO event_heads AS h (workspace_id, last_position)
    SELECT workspace_id, event_count FROM batches ORDER BY workspace_id
    ON CONFLICT (workspace_id) DO UPDATE SET last_position = h.last_position + excluded.last_position
    RETURNING workspace_id, last_position
  )
  INSERT INTO events (workspace_id, last_position, event_count, events, created_at)
  SELECT workspace_id, m.last_position, b.event_count, '[' || b.events || ']', clock_timestamp()
  FROM moved m JOIN batches b USING (workspace_id)
$$;

CREATE FUNCTION tell_messages() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM append_events(array_agg(workspace_id), array_agg(event_count), array_agg(events)) FROM (
    SELECT workspace_id, count(*)::integer AS event_count,
      string_agg('["m","' || conversation_id || '","' || message_id || '"]', ',' ORDER BY seq) AS events
    FROM written GROUP BY workspace_id
  ) batches HAVING count(*) > 0;
  RETURN NULL;
END
$$;
CREATE TRIGGER tell_messages AFTER INSERT ON messages
  REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION tell_messages();

-- Inlined where it is called, for it is stable and takes plain values.
CREATE FUNCTION status_event(
  p_conversation uuid, p_message uuid, p_delivery uuid, p_recipient uuid, p_channel text, p_status text, p_error jsonb
) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT '["s","' || p_conversation || '","' || p_message || '","' || p_delivery || '","' || p_recipient || '","' || p_channel
    || '","' || p_status || '",' || CASE WHEN p_error IS NOT NULL AND p_status = 'failed' THEN p_error::text ELSE 'null' END || ']'
$$;

-- A delivery that begins with the status `accepted` tells nothing new: its message does.
CREATE FUNCTION tell_new_deliveries() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM append_events(array_agg(workspace_id), array_agg(event_count), array_agg(events)) FROM (
    SELECT workspace_id, count(*)::integer AS event_count,
      string_agg(status_event(conversation_id, message_id, delivery_id, recipient_id, channel, status::text, error), ','
        ORDER BY seq) AS events
    FROM written WHERE status <> 'accepted' GROUP BY workspace_id
  ) batches HAVING count(*) > 0;
  RETURN NULL;
END
$$;
CREATE TRIGGER tell_new_deliveries AFTER INSERT ON deliveries
  REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION tell_new_deliveries();

-- What was appended to a delivery's history is what changed. The pipeline plans without hash joins; here the join is of
-- two short lists without an index.
CREATE FUNCTION tell_deliveries() RETURNS trigger
LANGUAGE plpgsql SET enable_hashjoin = on AS $$
BEGIN
  PERFORM append_events(array_agg(workspace_id), array_agg(event_count), array_agg(events)) FROM (
    SELECT d.workspace_id, count(*)::integer AS event_count,
      string_agg(status_event(d.conversation_id, d.message_id, d.delivery_id, d.recipient_id, d.channel,
        d.history -> told.place ->> 'status', d.error), ',' ORDER BY d.seq, told.place) AS events
    FROM written d JOIN replaced o USING (delivery_id)
      CROSS JOIN LATERAL generate_series(jsonb_array_length(o.history), jsonb_array_length(d.history) - 1) AS told (place)
    GROUP BY d.workspace_id
  ) batches HAVING count(*) > 0;
  RETURN NULL;
END
$$;
CREATE TRIGGER tell_deliveries AFTER UPDATE ON deliveries
  REFERENCING OLD TABLE AS replaced NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION tell_deliveries();

-- Conversations change in transactions of many statements, so they are told of as these commit, each once.
CREATE FUNCTION tell_conversation(p_conversation uuid, p_change text, p_left uuid) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  told text := coalesce(current_setting('chat4all.told_conversations', true), '');
  workspace uuid;
BEGIN
  IF p_left IS NULL THEN
    IF position(p_conversation::text IN told) > 0 THEN
      RETURN;
    END IF;
    PERFORM set_config('chat4all.told_conversations', told || ' ' || p_conversation, true);
  END IF;
  SELECT workspace_id INTO workspace FROM conversations WHERE conversation_id = p_conversation;
  PERFORM append_events(ARRAY[workspace], ARRAY[1],
    ARRAY[json_build_array('c', p_conversation, p_change, p_left)::text]);
END
$$;

CREATE FUNCTION tell_members() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  is_new boolean;
BEGIN
  IF TG_OP <> 'INSERT' THEN
    PERFORM tell_conversation(OLD.conversation_id, 'updated', OLD.participant_id);
  ELSE
    SELECT NEW.joined_at = created_at INTO is_new FROM conversations WHERE conversation_id = NEW.conversation_id;
    PERFORM tell_conversation(NEW.conversation_id, CASE WHEN is_new THEN 'created' ELSE 'updated' END, NULL);
  END IF;
  RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER tell_members AFTER INSERT OR DELETE OR UPDATE OF participant_id ON members
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION tell_members();

CREATE FUNCTION tell_changed_conversation() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM tell_conversation(NEW.conversation_id, 'updated', NULL);
  RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER tell_changed_conversation AFTER UPDATE OF title, settings ON conversations
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
  WHEN (OLD.title IS DISTINCT FROM NEW.title OR OLD.settings IS DISTINCT FROM NEW.settings)
  EXECUTE FUNCTION tell_changed_conversation();

-- Tables of events are written by these alone, and by whatever change they tell of.
CALL run_as_owner('append_events(uuid[], integer[], text[])');
CALL run_as_owner('tell_messages()');
CALL run_as_owner('tell_new_deliveries()');
CALL run_as_owner('tell_deliveries()');
CALL run_as_owner('tell_conversation(uuid, text, uuid)');
CALL run_as_owner('tell_members()');
CALL run_as_owner('tell_changed_conversation()');
