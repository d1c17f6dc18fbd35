-- What ends together: an API key with the keys made by it, and a password reset with what it was made for.

-- The keys by which this key was made, the first one first; empty for a key that a person made. It works while all of
-- them do, and shares their limits.
ALTER TABLE api_keys ADD COLUMN ancestor_ids uuid[] NOT NULL DEFAULT '{}';
CREATE INDEX api_keys_by_ancestor ON api_keys USING gin (ancestor_ids);
