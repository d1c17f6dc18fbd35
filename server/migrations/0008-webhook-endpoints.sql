-- Webhook endpoints: programs that are told of events by HTTP.

-- `events` are names, or '*' for all. Events after the position `starts_after` of the workspace's feed are for it: where the
-- feed stood when it was made or enabled. `failing_since` is when the first of the failed attempts was made since the last
-- that succeeded. Nothing is sent before `rests_until`: it asked to be left alone. Both secrets sign while
-- `old_secret_until` lies ahead.
CREATE TABLE webhook_endpoints (
  webhook_endpoint_id uuid PRIMARY KEY,
  workspace_id        uuid NOT NULL REFERENCES workspaces,
  url                 text NOT NULL,
  events              text[] NOT NULL,
  description         text,
  is_ordered          boolean NOT NULL,
  status              text NOT NULL CHECK (status IN ('enabled', 'disabled')),
  disabled_at         timestamptz,
  disabled_reason     text CHECK (disabled_reason IN ('requested', 'gone', 'failing')),
  starts_after        bigint NOT NULL,
  failing_since       timestamptz,
  rests_until         timestamptz,
  secret_sealed       bytea NOT NULL,
  old_secret_sealed   bytea,
  old_secret_until    timestamptz,
  created_at          timestamptz NOT NULL
);
CREATE INDEX webhook_endpoints_by_workspace
  ON webhook_endpoints (workspace_id, created_at DESC, webhook_endpoint_id DESC);
CREATE INDEX webhook_endpoints_enabled ON webhook_endpoints (webhook_endpoint_id, workspace_id) WHERE status = 'enabled';

-- How far the feed of a workspace was turned into deliveries. Whoever holds the row's lock may do that, and moves it in the
-- same transaction; making and enabling an endpoint takes the lock too, so that no event falls between.
CREATE TABLE webhook_cursors (
  workspace_id uuid PRIMARY KEY REFERENCES workspaces,
  position     bigint NOT NULL
);

-- One event for one endpoint. Its id is derived from both, and is the `webhook-id` of every attempt. `body` is what is sent.
-- `attempts` counts all that were made, `attempts_before` those before it was last replayed. `owner_id` is the process that
-- is at it (see `webhook_senders`). A test has no `position`: it is no event of the feed.
CREATE TABLE webhook_deliveries (
  webhook_delivery_id uuid PRIMARY KEY,
  workspace_id        uuid NOT NULL,
  webhook_endpoint_id uuid NOT NULL,
  position            bigint,
  event               text NOT NULL,
  message_id          uuid,
  body                text NOT NULL,
  status              text NOT NULL CHECK (status IN ('pending', 'succeeded', 'failed')),
  attempts            integer NOT NULL DEFAULT 0,
  attempts_before     integer NOT NULL DEFAULT 0,
  next_attempt_at     timestamptz NOT NULL,
  owner_id            uuid,
  created_at          timestamptz NOT NULL
) WITH (fillfactor = 80);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (webhook_endpoint_id, next_attempt_at, position)
  WHERE status = 'pending' AND owner_id IS NULL;
CREATE INDEX webhook_deliveries_pending ON webhook_deliveries (webhook_endpoint_id, position) WHERE status = 'pending';
CREATE INDEX webhook_deliveries_owned ON webhook_deliveries (owner_id) WHERE owner_id IS NOT NULL;
CREATE INDEX webhook_deliveries_by_message ON webhook_deliveries (message_id) WHERE message_id IS NOT NULL;
CREATE INDEX webhook_deliveries_by_age ON webhook_deliveries (created_at);

-- One try at a delivery. `answer` is the beginning of what the endpoint said.
CREATE TABLE webhook_attempts (
  attempt_id          uuid PRIMARY KEY,
  workspace_id        uuid NOT NULL,
  webhook_endpoint_id uuid NOT NULL,
  webhook_delivery_id uuid NOT NULL,
  event               text NOT NULL,
  number              integer NOT NULL,
  status              text NOT NULL CHECK (status IN ('succeeded', 'failed')),
  status_code         integer,
  error               text,
  answer              text,
  started_at          timestamptz NOT NULL,
  duration_ms         integer NOT NULL
);
CREATE INDEX webhook_attempts_by_endpoint
  ON webhook_attempts (webhook_endpoint_id, started_at DESC, attempt_id DESC);
CREATE INDEX webhook_attempts_failed
  ON webhook_attempts (webhook_endpoint_id, started_at DESC, attempt_id DESC) WHERE status = 'failed';
CREATE INDEX webhook_attempts_by_delivery ON webhook_attempts (webhook_delivery_id);
CREATE INDEX webhook_attempts_by_age ON webhook_attempts (started_at);

-- Processes that send, by the database's clock. What one has claimed that is not alive any more is free for the others.
CREATE TABLE webhook_senders (
  owner_id   uuid PRIMARY KEY,
  expires_at timestamptz NOT NULL
);

CALL protect_by_workspace('webhook_endpoints');
CALL protect_by_workspace('webhook_cursors', 'SELECT, INSERT, UPDATE');
CALL protect_by_workspace('webhook_deliveries', 'SELECT, INSERT, UPDATE');
CALL protect_by_workspace('webhook_attempts', 'SELECT, INSERT');

-- What becomes of an endpoint is an event itself.
CREATE FUNCTION tell_webhook_endpoint() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM append_events(ARRAY[NEW.workspace_id], ARRAY[1],
    ARRAY[json_build_array('w', NEW.webhook_endpoint_id, NEW.status, coalesce(NEW.disabled_reason, 'requested'))::text]);
  RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER tell_webhook_endpoint AFTER UPDATE OF status ON webhook_endpoints
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (OLD.status <> NEW.status) EXECUTE FUNCTION tell_webhook_endpoint();
CALL run_as_owner('tell_webhook_endpoint()');
