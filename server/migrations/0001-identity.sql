-- Who exists: workspaces, the participants in them, and how those prove who they are.

-- The first by `ordinal`, whatever the clocks said, is the one whose admins may make others.
CREATE TABLE workspaces (
  workspace_id uuid PRIMARY KEY,
  name         text NOT NULL,
  created_at   timestamptz NOT NULL,
  ordinal      bigint GENERATED ALWAYS AS IDENTITY UNIQUE
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

-- One log-in. Each refresh token works once. All tokens of a session share the part behind `family_hash`, so that
-- the second use of any of them is known for what it is, however long ago the first was.
CREATE TABLE sessions (
  session_id   uuid PRIMARY KEY,
  user_id      uuid NOT NULL REFERENCES users ON DELETE CASCADE,
  family_hash  bytea NOT NULL UNIQUE,
  refresh_hash bytea NOT NULL,
  expires_at   timestamptz NOT NULL,
  revoked_at   timestamptz,
  created_at   timestamptz NOT NULL
);
CREATE INDEX sessions_by_user ON sessions (user_id);
CREATE INDEX sessions_by_expiry ON sessions (expires_at);

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
CREATE INDEX api_keys_by_user ON api_keys (created_by);

-- What `Idempotency-Key` was answered with, kept 24 h. `status_code` is null while the first request is under way.
-- Bodies and answers hold passwords and tokens: the answer and even the body's hash are sealed.
-- `workspace_id` is null for a caller who has none yet.
CREATE TABLE idempotency_keys (
  workspace_id     uuid,
  caller_id        uuid NOT NULL,
  key              text NOT NULL,
  body_hash_sealed bytea NOT NULL,
  status_code      integer,
  answer_sealed    bytea,
  created_at       timestamptz NOT NULL,
  PRIMARY KEY (caller_id, key)
);
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);
