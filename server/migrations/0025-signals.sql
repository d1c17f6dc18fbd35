-- The last message of each address by the name that the platform has for it: typing is shown as an answer to it.
ALTER TABLE addresses ADD COLUMN last_provider_message_id text;

-- What was read, for the platforms that show it. One row for each channel account and person: up to which of the person's
-- messages somebody has read, written in the transaction that notes the reading. `is_pending` until the platform has it;
-- `due_at` is when a process that looks after what was left takes it up, `since` when it was first to be told.
CREATE TABLE read_marks (
  channel_account_id  uuid NOT NULL,
  identifier          text NOT NULL,
  workspace_id        uuid NOT NULL,
  conversation_id     uuid NOT NULL,
  channel             text NOT NULL,
  provider_message_id text NOT NULL,
  written_at          timestamptz NOT NULL,
  seq                 bigint NOT NULL,
  is_pending          boolean NOT NULL,
  tries               integer NOT NULL DEFAULT 0,
  due_at              timestamptz NOT NULL,
  since               timestamptz NOT NULL,
  PRIMARY KEY (channel_account_id, identifier)
) WITH (fillfactor = 80);
CREATE INDEX read_marks_due ON read_marks (due_at) WHERE is_pending;
CREATE INDEX read_marks_by_conversation ON read_marks (conversation_id) WHERE is_pending;
CALL protect_by_workspace('read_marks', 'SELECT, INSERT, UPDATE', p_check =>
  'EXISTS (SELECT FROM channel_accounts a WHERE a.channel_account_id = read_marks.channel_account_id
     AND a.workspace_id = read_marks.workspace_id)
   AND EXISTS (SELECT FROM conversations c WHERE c.conversation_id = read_marks.conversation_id)');
