-- Conversations, who is in them, and what was said. Foreign keys are left out where messages are written:
-- they would cost each message more than its own row, and the accepting statement checks the same facts.

CREATE TABLE conversations (
  conversation_id uuid PRIMARY KEY,
  workspace_id    uuid NOT NULL,
  type            text NOT NULL CHECK (type IN ('private', 'group')),
  title           text,
  settings        jsonb NOT NULL DEFAULT '{}',
  last_seq        bigint NOT NULL DEFAULT 0,
  created_at      timestamptz NOT NULL
) WITH (fillfactor = 60);
CREATE INDEX conversations_by_workspace ON conversations (workspace_id, created_at DESC, conversation_id DESC);

CREATE TABLE members (
  conversation_id uuid NOT NULL REFERENCES conversations ON DELETE CASCADE,
  participant_id  uuid NOT NULL REFERENCES participants,
  read_seq        bigint NOT NULL DEFAULT 0,
  joined_at       timestamptz NOT NULL,
  ordinal         bigint GENERATED ALWAYS AS IDENTITY,
  PRIMARY KEY (conversation_id, participant_id)
) WITH (fillfactor = 80);
CREATE INDEX members_by_participant ON members (participant_id, conversation_id);

-- The private conversation that `to` an address finds: one for each pair, whoever asks first.
CREATE TABLE direct_conversations (
  sender_id       uuid NOT NULL,
  recipient_id    uuid NOT NULL,
  conversation_id uuid NOT NULL REFERENCES conversations ON DELETE CASCADE,
  PRIMARY KEY (sender_id, recipient_id)
);
CREATE INDEX direct_conversations_by_recipient ON direct_conversations (recipient_id);

-- `origin` says on which channel account an inbound message came, and its id there.
CREATE TABLE messages (
  message_id      uuid NOT NULL,
  workspace_id    uuid NOT NULL,
  conversation_id uuid NOT NULL,
  seq             bigint NOT NULL,
  sender_id       uuid NOT NULL,
  direction       text NOT NULL,
  payload         jsonb NOT NULL,
  channels        text,
  options         jsonb,
  reply_to        uuid,
  metadata        jsonb,
  origin          jsonb,
  created_at      timestamptz NOT NULL,
  PRIMARY KEY (workspace_id, message_id)
);
CREATE UNIQUE INDEX messages_by_seq ON messages (conversation_id, seq);
