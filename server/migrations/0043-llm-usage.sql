-- What each user has used of the language model, by day in UTC. Requests are counted before they are made, so that those at
-- once cannot exceed LLM_TOKENS_PER_DAY together; what they have really used replaces that afterwards.
CREATE TABLE llm_usage (
  workspace_id   uuid NOT NULL,
  user_id        uuid NOT NULL,
  day            date NOT NULL,
  requests       integer NOT NULL DEFAULT 0,
  -- With the hub's key.
  tokens         bigint NOT NULL DEFAULT 0 CHECK (tokens >= 0),
  -- With keys of the user's own, which have no limit.
  own_key_tokens bigint NOT NULL DEFAULT 0 CHECK (own_key_tokens >= 0),
  PRIMARY KEY (workspace_id, user_id, day),
  FOREIGN KEY (workspace_id, user_id) REFERENCES users (workspace_id, user_id)
);
CREATE INDEX llm_usage_by_day ON llm_usage (day);
CALL protect_by_workspace('llm_usage', 'SELECT');
