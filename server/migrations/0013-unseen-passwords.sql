-- Passwords that the hub generated and has not shown to anyone yet. The row goes once the password was shown; until then
-- the next start sets a new one. It says nothing any more when the user has another password.
CREATE TABLE unseen_passwords (
  user_id       uuid PRIMARY KEY REFERENCES users ON DELETE CASCADE,
  password_hash text NOT NULL,
  created_at    timestamptz NOT NULL DEFAULT now()
);
GRANT SELECT, INSERT, UPDATE, DELETE ON unseen_passwords TO chat4all_identity;
