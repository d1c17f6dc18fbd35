-- The platform may refuse an account as a whole: its token, or what it may do. Such an account needs attention: nothing is
-- sent over it, what waits in its lanes stays there, and `attention` says why, as {"reason", "detail"}. `status_since` is
-- when the status changed last: time that a delivery waited before it does not count against it.
ALTER TABLE channel_accounts
  DROP CONSTRAINT channel_accounts_status_check,
  ADD CONSTRAINT channel_accounts_status_check CHECK (status IN ('active', 'disabled', 'needs_attention')),
  ADD COLUMN status_since timestamptz NOT NULL DEFAULT now(),
  ADD COLUMN attention jsonb;
CREATE INDEX channel_accounts_that_need_attention ON channel_accounts (workspace_id)
  WHERE status = 'needs_attention' AND deleted_at IS NULL;

-- In the feed: ["a", channel account, channel, name, status, reason|null, detail|null].
CREATE FUNCTION tell_channel_account() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM append_events(ARRAY[NEW.workspace_id], ARRAY[1],
    ARRAY[json_build_array('a', NEW.channel_account_id, NEW.channel, NEW.name, NEW.status,
      NEW.attention ->> 'reason', NEW.attention ->> 'detail')::text]);
  RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER tell_channel_account AFTER UPDATE OF status ON channel_accounts
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (OLD.status <> NEW.status AND NEW.deleted_at IS NULL)
  EXECUTE FUNCTION tell_channel_account();
CALL run_as_owner('tell_channel_account()');
