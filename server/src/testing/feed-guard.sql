-- In test databases only: a changed delivery without its event in the same transaction is an error. Of a long list of
-- events it only checks that there is one: to search it for each of thousands of deliveries takes half a minute.
CREATE FUNCTION require_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NOT EXISTS (
    SELECT FROM events WHERE workspace_id = NEW.workspace_id AND xmin = pg_current_xact_id()::xid
      AND (event_count > 100 OR events LIKE '%"' || NEW.delivery_id || '",%"' || NEW.status || '",%')
  ) THEN
    RAISE EXCEPTION 'delivery % became % without an event: publish it in the statement that makes the change',
      NEW.delivery_id, NEW.status;
  END IF;
  RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER require_event_of_new AFTER INSERT ON deliveries
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.status <> 'accepted') EXECUTE FUNCTION require_event();
CREATE CONSTRAINT TRIGGER require_event AFTER UPDATE OF status ON deliveries
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.status <> OLD.status) EXECUTE FUNCTION require_event();
