-- How people get in beyond a username and a password: log-in providers, invitations, password resets, one-time codes.

-- When it was proved that the user reads mail at `email`: a provider said so, or a mailed token came back. Null: claimed.
ALTER TABLE users ADD COLUMN email_verified_at timestamptz;

-- Who a user is at a log-in provider. `issuer` and `subject` name a person for good; an e-mail address does not.
CREATE TABLE login_identities (
  issuer       text NOT NULL,
  subject      text NOT NULL,
  user_id      uuid NOT NULL REFERENCES users ON DELETE CASCADE,
  workspace_id uuid NOT NULL REFERENCES workspaces,
  provider     text NOT NULL,
  created_at   timestamptz NOT NULL,
  last_used_at timestamptz NOT NULL,
  PRIMARY KEY (issuer, subject)
);
CREATE INDEX login_identities_by_user ON login_identities (user_id);

-- Hashes of what works once and carries its own end: kept until that end, so that a second use is known.
CREATE TABLE login_used_values (
  value_hash bytea PRIMARY KEY,
  expires_at timestamptz NOT NULL
);
CREATE INDEX login_used_values_by_expiry ON login_used_values (expires_at);

-- The token itself is shown once, to whoever invites, and mailed.
CREATE TABLE invitations (
  invitation_id uuid PRIMARY KEY,
  workspace_id  uuid NOT NULL REFERENCES workspaces,
  email         text NOT NULL,
  role          text NOT NULL CHECK (role IN ('admin', 'agent', 'member')),
  token_hash    bytea NOT NULL UNIQUE,
  invited_by    uuid NOT NULL REFERENCES users,
  created_at    timestamptz NOT NULL,
  expires_at    timestamptz NOT NULL,
  accepted_at   timestamptz,
  revoked_at    timestamptz
);
CREATE INDEX invitations_by_workspace ON invitations (workspace_id, created_at DESC, invitation_id DESC);
CREATE INDEX invitations_by_expiry ON invitations (expires_at);

-- `requested_by`: the admin who asked for it; null for the mail that a user asked for.
CREATE TABLE password_resets (
  token_hash   bytea PRIMARY KEY,
  user_id      uuid NOT NULL REFERENCES users ON DELETE CASCADE,
  workspace_id uuid NOT NULL REFERENCES workspaces,
  requested_by uuid REFERENCES users,
  created_at   timestamptz NOT NULL,
  expires_at   timestamptz NOT NULL,
  used_at      timestamptz
);
CREATE INDEX password_resets_by_user ON password_resets (user_id, created_at DESC);
CREATE INDEX password_resets_by_expiry ON password_resets (expires_at);

-- A second factor: counts from `confirmed_at` on. Every code belongs to a step of 30 s; none up to `last_step` works again.
CREATE TABLE totp_secrets (
  user_id       uuid PRIMARY KEY REFERENCES users ON DELETE CASCADE,
  workspace_id  uuid NOT NULL REFERENCES workspaces,
  secret_sealed bytea NOT NULL,
  last_step     bigint NOT NULL DEFAULT 0,
  created_at    timestamptz NOT NULL,
  confirmed_at  timestamptz
);

-- Each works once in place of a code: its row goes with its use.
CREATE TABLE recovery_codes (
  user_id      uuid NOT NULL REFERENCES users ON DELETE CASCADE,
  workspace_id uuid NOT NULL REFERENCES workspaces,
  code_hash    bytea NOT NULL,
  PRIMARY KEY (user_id, code_hash)
);

CALL protect_by_workspace('login_identities', 'SELECT, DELETE');
CALL protect_by_workspace('invitations', 'SELECT, INSERT, UPDATE');
-- Whoever could write one of these for a user of another workspace could get in as that user.
CALL protect_by_workspace('password_resets', 'SELECT, INSERT, UPDATE', p_check =>
  'EXISTS (SELECT FROM users WHERE users.user_id = password_resets.user_id)');
CALL protect_by_workspace('totp_secrets', p_check =>
  'EXISTS (SELECT FROM users WHERE users.user_id = totp_secrets.user_id)');
CALL protect_by_workspace('recovery_codes', 'SELECT, INSERT, DELETE', p_check =>
  'EXISTS (SELECT FROM users WHERE users.user_id = recovery_codes.user_id)');

CALL open_to_identity('login_identities', 'SELECT, INSERT, UPDATE');
CALL open_to_identity('invitations', 'SELECT, UPDATE');
CALL open_to_identity('password_resets', 'SELECT, INSERT, UPDATE');
CALL open_to_identity('totp_secrets', 'SELECT, UPDATE, DELETE');
CALL open_to_identity('recovery_codes', 'SELECT, DELETE');
GRANT SELECT, INSERT ON login_used_values TO chat4all_identity;
