-- Who exists: workspaces, the participants in them, and how those prove who they are.

CREATE TABLE workspaces (
  workspace_id uuid PRIMARY KEY,
  name         text NOT NULL,
  created_at   timestamptz NOT NULL
);

-- Anyone who can be in a conversation. A workspace is one itself, under its own id.
CREATE TABLE participants (
  participant_id uuid PRIMARY KEY,
  workspace_id   uuid NOT NULL REFERENCES workspaces,
  kind           text NOT NULL CHECK (kind IN ('user', 'contact', 'workspace')),
  display_name   text NOT NULL,
  created_at     timestamptz NOT NULL,
  deleted_at     timestamptz
);
CREATE INDEX participants_by_workspace ON participants (workspace_id, kind, created_at DESC, participant_id DESC);

CREATE TABLE users (
  user_id            uuid PRIMARY KEY REFERENCES participants,
  workspace_id       uuid NOT NULL REFERENCES workspaces,
  username           text NOT NULL,
  email              text NOT NULL,
  password_hash      text,
  role               text NOT NULL CHECK (role IN ('admin', 'agent', 'member')),
  preferred_model    text,
  llm_api_key_sealed bytea,
  disabled_at        timestamptz,
  created_at         timestamptz NOT NULL
);
-- Unique in the whole hub, whatever the case.
CREATE UNIQUE INDEX users_by_username ON users (lower(username));
CREATE UNIQUE INDEX users_by_email ON users (lower(email));
CREATE INDEX users_by_workspace ON users (workspace_id, created_at DESC, user_id DESC);

-- One log-in. Each refresh token works once; the hash of the one used before detects its second use.
CREATE TABLE sessions (
  session_id            uuid PRIMARY KEY,
  user_id               uuid NOT NULL REFERENCES users ON DELETE CASCADE,
  refresh_hash          bytea NOT NULL UNIQUE,
  previous_refresh_hash bytea UNIQUE,
  expires_at            timestamptz NOT NULL,
  revoked_at            timestamptz,
  created_at            timestamptz NOT NULL
);
CREATE INDEX sessions_by_user ON sessions (user_id);

CREATE TABLE api_keys (
  api_key_id   uuid PRIMARY KEY,
  workspace_id uuid NOT NULL REFERENCES workspaces,
  created_by   uuid REFERENCES users,
  name         text NOT NULL,
  key_hash     bytea NOT NULL UNIQUE,
  key_hint     text NOT NULL,
  scopes       text[] NOT NULL,
  expires_at   timestamptz,
  last_used_at timestamptz,
  revoked_at   timestamptz,
  created_at   timestamptz NOT NULL
);
CREATE INDEX api_keys_by_workspace ON api_keys (workspace_id, created_at DESC, api_key_id DESC);

-- What `Idempotency-Key` was answered with, kept 24 h. `answer` is null while the first request is under way.
CREATE TABLE idempotency_keys (
  workspace_id uuid NOT NULL,
  caller_id    uuid NOT NULL,
  key          text NOT NULL,
  body_hash    bytea NOT NULL,
  status_code  integer,
  answer       text,
  created_at   timestamptz NOT NULL,
  PRIMARY KEY (caller_id, key)
);
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);
