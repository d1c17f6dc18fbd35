-- A row names rows of its own workspace only. The policies of migration 0006 see whose a row is, and not whose the rows are
-- that it names, and a foreign key sees the rows of everyone. Four means, the cheapest that holds for each column:
--
--   foreign keys that include the workspace   where rows are seldom written
--   policies for what a request inserts       where messages are written: two look-ups, and no row of another is locked
--   triggers                                  what a policy cannot see: rows of the same table or of the same statement
--   the columns that a request may change     what no request changes needs no check
--
-- Ids inside JSON (`via`, settings) are looked up by the statements that read them, with their workspace.

-- What these foreign keys refer to.
ALTER TABLE participants ADD UNIQUE (workspace_id, participant_id);
ALTER TABLE users ADD UNIQUE (workspace_id, user_id);
ALTER TABLE contacts ADD UNIQUE (workspace_id, contact_id);
ALTER TABLE channel_accounts ADD UNIQUE (workspace_id, channel_account_id);

-- Lets a column name rows of the own workspace only. It replaces the foreign key of the column alone. Rows that are there are
-- checked by the next migration, under a lock that stops no one. Later tables call it too, or say so where they are made.
CREATE PROCEDURE keep_within_workspace(
  p_table regclass, p_column name, p_refers_to regclass, p_key name, p_action text DEFAULT ''
) LANGUAGE plpgsql AS $$
DECLARE
  replaced name;
BEGIN
  FOR replaced IN
    SELECT k.conname FROM pg_constraint k JOIN pg_attribute a ON a.attrelid = k.conrelid AND k.conkey = ARRAY[a.attnum]
    WHERE k.conrelid = p_table AND k.contype = 'f' AND a.attname = p_column
  LOOP
    EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', p_table, replaced);
  END LOOP;
  EXECUTE format('ALTER TABLE %s ADD CONSTRAINT %I FOREIGN KEY (workspace_id, %I) REFERENCES %s (workspace_id, %I) %s NOT VALID',
    p_table, concat_ws('_', (SELECT relname FROM pg_class WHERE oid = p_table), p_column, 'of_workspace'), p_column, p_refers_to, p_key, p_action);
END
$$;
CALL keep_within_workspace('users', 'user_id', 'participants', 'participant_id');
CALL keep_within_workspace('contacts', 'contact_id', 'participants', 'participant_id');
CALL keep_within_workspace('contacts', 'merged_into', 'contacts', 'contact_id');
CALL keep_within_workspace('contact_metadata', 'contact_id', 'contacts', 'contact_id', 'ON DELETE CASCADE');
CALL keep_within_workspace('addresses', 'participant_id', 'participants', 'participant_id');
CALL keep_within_workspace('addresses', 'last_channel_account_id', 'channel_accounts', 'channel_account_id');
CALL keep_within_workspace('lanes', 'channel_account_id', 'channel_accounts', 'channel_account_id');
CALL keep_within_workspace('api_keys', 'created_by', 'users', 'user_id');
CALL keep_within_workspace('invitations', 'invited_by', 'users', 'user_id');
CALL keep_within_workspace('password_resets', 'user_id', 'users', 'user_id', 'ON DELETE CASCADE');
CALL keep_within_workspace('password_resets', 'requested_by', 'users', 'user_id');
CALL keep_within_workspace('login_identities', 'user_id', 'users', 'user_id', 'ON DELETE CASCADE');
CALL keep_within_workspace('totp_secrets', 'user_id', 'users', 'user_id', 'ON DELETE CASCADE');
CALL keep_within_workspace('recovery_codes', 'user_id', 'users', 'user_id', 'ON DELETE CASCADE');
CALL keep_within_workspace('address_verifications', 'user_id', 'users', 'user_id', 'ON DELETE CASCADE');

-- What a request inserts. The policies of the tables that are named here hold in these conditions too.
CREATE POLICY names_own_rows ON messages AS RESTRICTIVE FOR INSERT TO chat4all_api WITH CHECK (
  EXISTS (SELECT FROM conversations c WHERE c.conversation_id = messages.conversation_id)
  AND EXISTS (SELECT FROM participants p WHERE p.participant_id = messages.sender_id)
  AND (origin IS NULL OR EXISTS (
    SELECT FROM channel_accounts a WHERE a.channel_account_id = (messages.origin ->> 'channel_account_id')::uuid)));
CREATE POLICY names_own_rows ON idempotency_keys AS RESTRICTIVE FOR INSERT TO chat4all_api WITH CHECK (
  EXISTS (SELECT FROM participants p WHERE p.participant_id = idempotency_keys.caller_id)
  OR EXISTS (SELECT FROM api_keys k WHERE k.api_key_id = idempotency_keys.caller_id));
CREATE POLICY names_own_rows ON webhook_deliveries AS RESTRICTIVE FOR INSERT TO chat4all_api WITH CHECK (
  EXISTS (SELECT FROM webhook_endpoints e WHERE e.webhook_endpoint_id = webhook_deliveries.webhook_endpoint_id)
  AND (message_id IS NULL OR EXISTS (
    SELECT FROM messages m WHERE m.workspace_id = webhook_deliveries.workspace_id AND m.message_id = webhook_deliveries.message_id)));
CREATE POLICY names_own_rows ON webhook_attempts AS RESTRICTIVE FOR INSERT TO chat4all_api WITH CHECK (
  EXISTS (
    SELECT FROM webhook_deliveries d WHERE d.webhook_delivery_id = webhook_attempts.webhook_delivery_id
      AND d.webhook_endpoint_id = webhook_attempts.webhook_endpoint_id));

-- What a request changes.
REVOKE UPDATE ON deliveries, provider_messages, idempotency_keys, webhook_deliveries, sessions FROM chat4all_api;
GRANT UPDATE (status, is_pending, is_dead_letter, ordinal, error, retry_from, next_attempt_at, provider_message_ids,
  part_receipts, history, sent_at, delivered_at, read_at, failed_at) ON deliveries TO chat4all_api;
GRANT UPDATE (body_hash_sealed, created_at, status_code, answer_sealed, work_id) ON idempotency_keys TO chat4all_api;
GRANT UPDATE (status, attempts_before, next_attempt_at) ON webhook_deliveries TO chat4all_api;
GRANT UPDATE (revoked_at) ON sessions TO chat4all_api;
GRANT UPDATE (delivery_id) ON provider_messages TO chat4all_api;
CREATE POLICY names_own_rows ON provider_messages AS RESTRICTIVE FOR UPDATE TO chat4all_api USING (true) WITH CHECK (
  delivery_id IS NULL OR EXISTS (SELECT FROM deliveries d WHERE d.delivery_id = provider_messages.delivery_id));

-- As the members of migration 0006: the conversation may be made by the same statement, where no policy sees it.
CREATE FUNCTION keep_directs_together() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NOT EXISTS (
    SELECT FROM conversations c JOIN participants s USING (workspace_id) JOIN participants r USING (workspace_id)
    WHERE c.conversation_id = NEW.conversation_id AND s.participant_id = NEW.sender_id AND r.participant_id = NEW.recipient_id
  ) THEN
    RAISE insufficient_privilege USING MESSAGE = 'a private conversation is of the workspace of its participants';
  END IF;
  RETURN NULL;
END
$$;
CALL run_as_owner('keep_directs_together()');
CREATE TRIGGER keep_directs_together AFTER INSERT OR UPDATE ON direct_conversations
  FOR EACH ROW EXECUTE FUNCTION keep_directs_together();

-- A message may quote one that the same statement writes.
CREATE FUNCTION keep_quotes_together() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM messages m WHERE m.workspace_id = NEW.workspace_id AND m.message_id = NEW.reply_to) THEN
    RAISE insufficient_privilege USING MESSAGE = 'a message quotes messages of its own workspace';
  END IF;
  RETURN NULL;
END
$$;
CALL run_as_owner('keep_quotes_together()');
CREATE TRIGGER keep_quotes_together AFTER INSERT OR UPDATE OF reply_to ON messages
  FOR EACH ROW WHEN (NEW.reply_to IS NOT NULL) EXECUTE FUNCTION keep_quotes_together();

CREATE FUNCTION keep_keys_together() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (
    SELECT FROM unnest(NEW.ancestor_ids) AS a (id) WHERE NOT EXISTS (
      SELECT FROM api_keys k WHERE k.api_key_id = a.id AND k.workspace_id = NEW.workspace_id)
  ) THEN
    RAISE insufficient_privilege USING MESSAGE = 'an API key is made by keys of its own workspace';
  END IF;
  RETURN NULL;
END
$$;
CALL run_as_owner('keep_keys_together()');
CREATE TRIGGER keep_keys_together AFTER INSERT OR UPDATE OF ancestor_ids ON api_keys
  FOR EACH ROW WHEN (NEW.ancestor_ids <> '{}') EXECUTE FUNCTION keep_keys_together();

-- Requests publish on the topics of a message's path: they accept messages, and replay dead letters. As before otherwise.
CREATE OR REPLACE FUNCTION bus_append(p_topic text, p_partitions integer[], p_counts integer[], p_batches text[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  appended integer;
BEGIN
  IF current_setting('role') = 'chat4all_api' AND p_topic NOT IN ('message_processing', 'inbound')
     AND p_topic NOT LIKE '%\_outgoing' THEN
    RAISE insufficient_privilege USING MESSAGE = format('a request publishes nothing on the bus topic %s', p_topic);
  END IF;
  WITH batches AS MATERIALIZED (
    SELECT * FROM unnest(p_partitions, p_counts, p_batches) AS b (partition, record_count, records)
  ), locked AS MATERIALIZED (
    SELECT partition FROM bus_heads
    WHERE topic = p_topic AND partition = ANY (p_partitions)
    ORDER BY partition FOR UPDATE
  ), moved AS (
    UPDATE bus_heads h SET next_offset = h.next_offset + b.record_count
    FROM batches b JOIN locked USING (partition)
    WHERE h.topic = p_topic AND h.partition = b.partition
    RETURNING h.partition, h.next_offset - 1 AS last_offset, b.record_count, b.records
  )
  INSERT INTO bus_records (segment, topic, partition, last_offset, record_count, records)
  SELECT (SELECT active FROM bus_segments), p_topic, partition, last_offset, record_count, records FROM moved;
  GET DIAGNOSTICS appended = ROW_COUNT;
  IF appended <> cardinality(p_partitions) THEN
    RAISE EXCEPTION 'bus topic % has no such partition', p_topic;
  END IF;
END
$$;
CALL run_as_owner('bus_append(text, integer[], integer[], text[])', 'chat4all_api, chat4all_pipeline');
