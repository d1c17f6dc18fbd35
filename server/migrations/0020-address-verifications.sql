-- One-time codes by which users prove that an address is theirs. Kept for as long as starts are counted; times are the
-- database's own. The code is stored as a hash.
CREATE TABLE address_verifications (
  verification_id uuid PRIMARY KEY,
  workspace_id    uuid NOT NULL REFERENCES workspaces,
  user_id         uuid NOT NULL REFERENCES users ON DELETE CASCADE,
  channel         text NOT NULL,
  identifier      text NOT NULL,
  code_hash       bytea NOT NULL,
  tries           integer NOT NULL DEFAULT 0,
  created_at      timestamptz NOT NULL DEFAULT now(),
  expires_at      timestamptz NOT NULL,
  -- Proved, or not sent after all.
  ended_at        timestamptz
);
CREATE INDEX address_verifications_by_user ON address_verifications (user_id, created_at);
CREATE INDEX address_verifications_by_address ON address_verifications (workspace_id, channel, identifier, created_at);
CREATE INDEX address_verifications_by_age ON address_verifications (created_at);
CALL protect_by_workspace('address_verifications', 'SELECT, INSERT, UPDATE', p_check =>
  'EXISTS (SELECT FROM users WHERE users.user_id = address_verifications.user_id)');
