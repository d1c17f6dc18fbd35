-- The tables of the floor: those of the hub, as far as its promises of storage need them.

CREATE TYPE delivery_status AS ENUM ('sent', 'delivered', 'read');

CREATE TABLE conversations (
  conversation_id uuid PRIMARY KEY,
  workspace_id    uuid NOT NULL,
  facts_version   integer NOT NULL DEFAULT 1,
  last_seq        bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 60);

CREATE TABLE messages (
  message_id      uuid NOT NULL,
  workspace_id    uuid NOT NULL,
  conversation_id uuid NOT NULL,
  seq             bigint NOT NULL,
  sender_id       uuid NOT NULL,
  direction       text NOT NULL,
  payload         jsonb NOT NULL,
  created_at      timestamptz NOT NULL,
  PRIMARY KEY (workspace_id, message_id)
);
CREATE UNIQUE INDEX messages_by_seq ON messages (conversation_id, seq);

-- What an accepting commit leaves to be done: [message, delivery, whether its attempt starts with this commit].
CREATE TABLE outbox (
  commit_id    bigint PRIMARY KEY,
  record_count integer NOT NULL,
  records      text NOT NULL
);
ALTER TABLE outbox ALTER COLUMN records SET STORAGE EXTERNAL;

-- Written when the outcome of the attempt is known; until then the outbox has the record.
CREATE TABLE deliveries (
  delivery_id           uuid PRIMARY KEY,
  workspace_id          uuid NOT NULL,
  message_id            uuid NOT NULL,
  conversation_id       uuid NOT NULL,
  recipient_id          uuid NOT NULL,
  channel_account_id    uuid NOT NULL,
  lane_id               uuid NOT NULL,
  seq                   bigint NOT NULL,
  status                delivery_status NOT NULL,
  channel               text NOT NULL,
  identifier            text NOT NULL,
  provider_message_id   text NOT NULL,
  attempt_batch_id      uuid NOT NULL,
  started_at            timestamptz NOT NULL,
  sent_at               timestamptz NOT NULL,
  delivered_at          timestamptz,
  read_at               timestamptz,
  platform_delivered_at timestamptz,
  platform_read_at      timestamptz,
  delivered_by          uuid,
  read_by               uuid
) WITH (fillfactor = 55);
CREATE INDEX deliveries_by_message ON deliveries (message_id);

-- The attempts that ended, with their exchanges, and the attempts that start, as one JSON text a commit.
CREATE TABLE attempt_batches (
  attempt_batch_id uuid PRIMARY KEY,
  workspace_id     uuid NOT NULL,
  created_at       timestamptz NOT NULL,
  body             text NOT NULL
);

CREATE TABLE provider_messages (
  channel_account_id  uuid NOT NULL,
  provider_message_id text NOT NULL,
  delivery_id         uuid NOT NULL,
  message_id          uuid NOT NULL,
  PRIMARY KEY (channel_account_id, provider_message_id)
);

-- Raw webhooks, one after the other; `ends` says where each of them ends.
CREATE TABLE webhook_batches (
  webhook_batch_id uuid PRIMARY KEY,
  workspace_id     uuid NOT NULL,
  received_at      timestamptz NOT NULL,
  ends             integer[] NOT NULL,
  body             bytea NOT NULL
);
ALTER TABLE webhook_batches ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE INDEX webhook_batches_by_age ON webhook_batches USING brin (received_at);

CREATE TABLE event_heads (
  workspace_id  uuid PRIMARY KEY,
  last_position bigint NOT NULL
) WITH (fillfactor = 10);
CREATE TABLE events (
  workspace_id  uuid NOT NULL,
  last_position bigint NOT NULL,
  event_count   integer NOT NULL,
  events        text NOT NULL,
  created_at    timestamptz NOT NULL,
  PRIMARY KEY (workspace_id, last_position)
);
CREATE INDEX events_by_age ON events USING brin (created_at);

-- Positions have no gaps and become visible in order: the head is locked until the commit.
CREATE FUNCTION append_events(p_workspace uuid, p_count integer, p_events text) RETURNS void
LANGUAGE sql SECURITY DEFINER AS $$
  WITH moved AS (
    UPDATE event_heads SET last_position = last_position + p_count
    WHERE workspace_id = p_workspace AND p_count > 0 RETURNING last_position
  )
  INSERT INTO events (workspace_id, last_position, event_count, events, created_at)
  SELECT p_workspace, last_position, p_count, p_events, clock_timestamp() FROM moved
$$;

-- Requests see one workspace.
CREATE ROLE floor_accept;
GRANT SELECT, UPDATE ON conversations TO floor_accept;
GRANT SELECT, INSERT ON messages, outbox TO floor_accept;
ALTER TABLE conversations ENABLE ROW LEVEL SECURITY;
ALTER TABLE messages ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON conversations USING (workspace_id = current_setting('floor.workspace_id')::uuid);
CREATE POLICY own ON messages USING (workspace_id = current_setting('floor.workspace_id')::uuid);
