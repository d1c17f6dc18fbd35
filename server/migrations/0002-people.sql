-- People reached on channels, and the connected numbers and bots that reach them.

CREATE TABLE contacts (
  contact_id   uuid PRIMARY KEY REFERENCES participants,
  workspace_id uuid NOT NULL REFERENCES workspaces,
  metadata     jsonb NOT NULL DEFAULT '{}',
  merged_into  uuid REFERENCES contacts,
  created_at   timestamptz NOT NULL
);
CREATE INDEX contacts_by_workspace ON contacts (workspace_id, created_at DESC, contact_id DESC);

-- One number, page or bot of ours on a channel. Credentials are sealed (AES-256-GCM) and never leave.
CREATE TABLE channel_accounts (
  channel_account_id uuid PRIMARY KEY,
  workspace_id       uuid NOT NULL REFERENCES workspaces,
  channel            text NOT NULL,
  name               text NOT NULL,
  status             text NOT NULL CHECK (status IN ('active', 'disabled')),
  external_id        text NOT NULL,
  credentials_sealed bytea NOT NULL,
  settings           jsonb NOT NULL DEFAULT '{}',
  version            integer NOT NULL DEFAULT 1,
  created_at         timestamptz NOT NULL,
  deleted_at         timestamptz
);
CREATE INDEX channel_accounts_by_workspace ON channel_accounts (workspace_id, channel, created_at) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX channel_accounts_by_external_id ON channel_accounts (workspace_id, channel, external_id)
  WHERE deleted_at IS NULL;

-- How a channel names a participant. Several may be aliases of one person on one channel.
CREATE TABLE addresses (
  workspace_id            uuid NOT NULL,
  channel                 text NOT NULL,
  identifier              text NOT NULL,
  participant_id          uuid NOT NULL REFERENCES participants,
  last_heard_at           timestamptz,
  last_channel_account_id uuid,
  created_at              timestamptz NOT NULL,
  ordinal                 bigint GENERATED ALWAYS AS IDENTITY,
  PRIMARY KEY (workspace_id, channel, identifier)
) WITH (fillfactor = 80);
CREATE INDEX addresses_by_participant ON addresses (participant_id, ordinal);
