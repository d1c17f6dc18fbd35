-- Guesses at passwords are kept as token buckets, and those that must wait have a turn.
ALTER TABLE log_in_tries
  ALTER COLUMN failures SET DEFAULT 0,
  ALTER COLUMN last_failed_at SET DEFAULT now(),
  -- When the bucket of this row is full again.
  ADD COLUMN full_at timestamptz,
  -- When this pair of account and address may try; what it costs is paid already.
  ADD COLUMN turn_at timestamptz;
COMMENT ON COLUMN log_in_tries.failures IS 'Tries of a pair that has not logged in yet, right or wrong';
COMMENT ON COLUMN log_in_tries.last_failed_at IS 'Written by earlier versions; not read any more';
