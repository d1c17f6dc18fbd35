-- Sessions, keys and what limits them.

-- The refresh token before the newest, for a client that lost the answer to its refresh: used again within seconds of
-- `rotated_at` it gets the same successor, which the salt makes of it. Neither row nor token alone tells the successor.
ALTER TABLE sessions
  ADD COLUMN previous_hash  bytea,
  ADD COLUMN successor_salt bytea,
  ADD COLUMN rotated_at     timestamptz;

-- Requests that the key may make: so many a second on average, and so many at once. Null: no limit of its own.
ALTER TABLE api_keys
  ADD COLUMN rate_per_second double precision CHECK (rate_per_second > 0),
  ADD COLUMN rate_burst      integer CHECK (rate_burst > 0),
  ADD CHECK ((rate_per_second IS NULL) = (rate_burst IS NULL));

-- Failed log-ins by username, by client address, and by the two together where the pair has logged in before: all hashed,
-- and all alike whether there is such a user or not. Belongs to no workspace: who tries is not known yet.
CREATE TABLE log_in_tries (
  subject_hash   bytea PRIMARY KEY,
  failures       integer NOT NULL,
  last_failed_at timestamptz NOT NULL,
  -- Until when this pair counts as known; null for the others.
  known_until    timestamptz,
  -- When the row says nothing any more.
  expires_at     timestamptz NOT NULL
);
CREATE INDEX log_in_tries_by_expiry ON log_in_tries (expires_at);
GRANT SELECT, INSERT, UPDATE, DELETE ON log_in_tries TO chat4all_identity;
