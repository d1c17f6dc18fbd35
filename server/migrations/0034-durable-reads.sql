-- Statements on a message's path commit without waiting for durable storage (`synchronous_commit` off), so that the locks of
-- the feed, the bus and the conversations are not held meanwhile, and call this before they return (ADR 0025).
--
-- When the transaction that calls it has ended, all that it saw is durable, at synchronous standbys too. A statement whose
-- rows are acted upon outside of the database, or remembered beside it, calls it as well: it may have read what another
-- connection is still waiting for. An empty logical message gives the transaction something to flush.
CREATE FUNCTION make_durable() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  IF pg_current_wal_insert_lsn() > pg_current_wal_flush_lsn() OR current_setting('synchronous_standby_names') <> '' THEN
    IF current_setting('synchronous_commit') = 'off' THEN
      PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    PERFORM pg_logical_emit_message(true, 'chat4all', '');
  END IF;
  RETURN true;
END
$$;
