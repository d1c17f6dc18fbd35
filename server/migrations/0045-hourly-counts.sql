-- How many messages and deliveries of each hour a workspace has, for GET /v1/stats. A maintenance job counts an hour when it is
-- over, and again after a day and after a week, because statuses still change. So what is not yet counted is short, and a long
-- period is a few rows.
CREATE TABLE hourly_counts (
  workspace_id uuid NOT NULL,
  hour         timestamptz NOT NULL,
  -- `message`: `state` is its direction, `channel` is empty for one of a program. `delivery`: `state` is its status.
  counted      text NOT NULL CHECK (counted IN ('message', 'delivery')),
  channel      text NOT NULL,
  state        text NOT NULL,
  count        bigint NOT NULL,
  PRIMARY KEY (workspace_id, hour, counted, channel, state)
);
CREATE INDEX hourly_counts_by_hour ON hourly_counts (hour);
CALL protect_by_workspace('hourly_counts', 'SELECT');

-- The hours that were counted, also those in which nothing happened.
CREATE TABLE counted_hours (
  hour       timestamptz PRIMARY KEY,
  counted_at timestamptz NOT NULL
);
