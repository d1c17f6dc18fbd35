-- Tasks: long work that is asked for in a request or follows from a change, such as reading a document. A row is the job
-- itself (ADR 0028). A task is `pending` until it is due and a process has room for it, `running` while a process that is alive
-- runs it, and then ends. `result` and `error` do not change afterwards; maintenance deletes the row after TASKS_RETENTION.
CREATE TABLE tasks (
  task_id      uuid PRIMARY KEY,
  workspace_id uuid NOT NULL,
  -- Who asked for it, and sees it; null: the hub's own work.
  user_id      uuid,
  kind         text NOT NULL,
  file_id      uuid,
  options      jsonb NOT NULL DEFAULT '{}',
  status       text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'running', 'completed', 'failed', 'cancelled')),
  -- In percent. It never falls, also when the task runs again.
  progress     smallint NOT NULL DEFAULT 0 CHECK (progress BETWEEN 0 AND 100),
  -- Not `jsonb`: up to 16 MiB that are stored and returned as they are.
  result       json,
  -- {code, message}: why it failed; of a pending task, why it has to wait.
  error        jsonb,
  -- Runs that ended with their process.
  crashes      smallint NOT NULL DEFAULT 0,
  -- Runs that ended because something that the task needs cannot be used now.
  waits        smallint NOT NULL DEFAULT 0,
  created_at   timestamptz NOT NULL,
  -- Of the first run.
  started_at   timestamptz,
  finished_at  timestamptz,
  -- A pending task is not run before.
  run_at       timestamptz NOT NULL,
  -- The process that runs it, until `leased_until` by the database's clock unless it renews that.
  owner_id     uuid,
  leased_until timestamptz,
  -- Users take turns; so do workspaces with the hub's own work.
  queue_id     uuid NOT NULL GENERATED ALWAYS AS (coalesce(user_id, workspace_id)) STORED,
  FOREIGN KEY (workspace_id, user_id) REFERENCES users (workspace_id, user_id),
  FOREIGN KEY (workspace_id, file_id) REFERENCES files (workspace_id, file_id),
  CHECK ((status = 'running') = (owner_id IS NOT NULL AND leased_until IS NOT NULL)),
  CHECK ((status IN ('completed', 'failed', 'cancelled')) = (finished_at IS NOT NULL))
) WITH (fillfactor = 90);
-- The same work is not under way twice.
CREATE UNIQUE INDEX tasks_at_once ON tasks (workspace_id, kind, file_id, user_id, md5(options::text)) NULLS NOT DISTINCT
  WHERE status IN ('pending', 'running');
CREATE INDEX tasks_unfinished ON tasks (queue_id, status, run_at, task_id) WHERE status IN ('pending', 'running');
CREATE INDEX tasks_running ON tasks (owner_id) WHERE status = 'running';
CREATE INDEX tasks_of_user ON tasks (workspace_id, user_id, created_at DESC, task_id DESC);
CREATE INDEX tasks_of_workspace ON tasks (workspace_id, created_at DESC, task_id DESC);
CREATE INDEX tasks_of_file ON tasks (file_id) WHERE file_id IS NOT NULL;
CREATE INDEX tasks_finished ON tasks (finished_at) WHERE finished_at IS NOT NULL;
CALL protect_by_workspace('tasks', 'SELECT, INSERT');
-- To cancel one.
GRANT UPDATE (status, error, finished_at, owner_id, leased_until) ON tasks TO chat4all_api;
