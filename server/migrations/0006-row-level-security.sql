-- Who may see what, held by the database itself. Every connection of the hub takes one of three roles:
--
--   chat4all_api       what requests read and write: rows of the workspace named by the setting `chat4all.workspace_id`
--   chat4all_identity  who is calling, before that is known: the tables of identity, of every workspace, and nothing else
--   chat4all_pipeline  the steps of a message's path and the chores: every row
--
-- A query that forgets to name its workspace finds nothing of others. Roles belong to the server, not to one database:
-- several hubs on one server share them, and each grants them its own tables.

DO $$
DECLARE
  role_name text;
BEGIN
  FOREACH role_name IN ARRAY ARRAY['chat4all_api', 'chat4all_identity', 'chat4all_pipeline'] LOOP
    BEGIN
      IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role_name) THEN
        BEGIN
          EXECUTE format('CREATE ROLE %I NOLOGIN', role_name);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
          NULL; -- Another hub on this server was quicker.
        END;
      END IF;
      -- A superuser may take every role as it is, and others may have been given them: then they need not be able to give roles.
      IF NOT pg_has_role(current_user, role_name, 'USAGE') THEN
        EXECUTE format('GRANT %I TO CURRENT_USER', role_name);
      END IF;
    EXCEPTION WHEN insufficient_privilege THEN
      RAISE insufficient_privilege USING MESSAGE =
        format('the role %s must be there and be granted: CREATE ROLE %1$s NOLOGIN; GRANT %1$s TO %I', role_name, current_user);
    END;
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', current_schema(), role_name);
  END LOOP;
  EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON ALL TABLES IN SCHEMA %I TO chat4all_pipeline', current_schema());
  EXECUTE format('ALTER DEFAULT PRIVILEGES IN SCHEMA %I GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON TABLES TO chat4all_pipeline',
    current_schema());
END
$$;

-- The workspace of the connection; null, which equals nothing, when none is named.
CREATE FUNCTION current_workspace() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE
RETURN nullif(current_setting('chat4all.workspace_id', true), '')::uuid;

-- Lets requests see and change rows of a table where `p_condition` holds (default: of their workspace), leave behind only
-- such as `p_check` holds for too, and the pipeline all of them. Every later table that requests touch calls it.
CREATE PROCEDURE protect_by_workspace(
  p_table regclass,
  p_api_may text DEFAULT 'SELECT, INSERT, UPDATE, DELETE',
  p_condition text DEFAULT 'workspace_id = (SELECT current_workspace())',
  p_check text DEFAULT 'true'
) LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', p_table);
  EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', p_table);
  EXECUTE format('GRANT %s ON %s TO chat4all_api', p_api_may, p_table);
  EXECUTE format('CREATE POLICY of_workspace ON %s TO chat4all_api USING (%s) WITH CHECK (%2$s AND %s)', p_table, p_condition, p_check);
  EXECUTE format('CREATE POLICY of_pipeline ON %s TO chat4all_pipeline USING (true) WITH CHECK (true)', p_table);
END
$$;

-- Lets those who find out who is calling use a table too, of whatever workspace.
CREATE PROCEDURE open_to_identity(p_table regclass, p_identity_may text DEFAULT 'SELECT, INSERT, UPDATE, DELETE')
LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('GRANT %s ON %s TO chat4all_identity', p_identity_may, p_table);
  EXECUTE format('CREATE POLICY of_identity ON %s TO chat4all_identity USING (true) WITH CHECK (true)', p_table);
END
$$;

-- Lets a function act with the rights of the owner, called by the roles named alone (none: by triggers). Nobody's temporary
-- tables come before ours in it.
CREATE PROCEDURE run_as_owner(p_function regprocedure, p_callers text DEFAULT NULL) LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('ALTER FUNCTION %s SECURITY DEFINER SET search_path = %I, pg_temp', p_function, current_schema());
  EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', p_function);
  IF p_callers IS NOT NULL THEN
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %s', p_function, p_callers);
  END IF;
END
$$;

-- What requests do with each table, and no more.
CALL protect_by_workspace('workspaces', 'SELECT');
CALL protect_by_workspace('participants', 'SELECT, INSERT, UPDATE');
CALL protect_by_workspace('users', 'SELECT, INSERT, UPDATE');
CALL protect_by_workspace('api_keys', 'SELECT, INSERT, UPDATE');
CALL protect_by_workspace('idempotency_keys');
CALL protect_by_workspace('contacts', 'SELECT, INSERT, UPDATE');
CALL protect_by_workspace('channel_accounts', 'SELECT, INSERT, UPDATE');
CALL protect_by_workspace('addresses', p_check =>
  'EXISTS (SELECT FROM participants WHERE participants.participant_id = addresses.participant_id)');
CALL protect_by_workspace('conversations', 'SELECT, INSERT, UPDATE');
CALL protect_by_workspace('messages', 'SELECT, INSERT');
CALL protect_by_workspace('lanes', 'SELECT');
CALL protect_by_workspace('deliveries', 'SELECT, UPDATE');
CALL protect_by_workspace('webhooks', 'SELECT');

-- Tables whose rows belong to a row of another, which says whose they are: its policy holds in these conditions too.
CALL protect_by_workspace('sessions', 'SELECT, UPDATE',
  'EXISTS (SELECT FROM users WHERE users.user_id = sessions.user_id)');
CALL protect_by_workspace('members', p_condition =>
  'EXISTS (SELECT FROM participants WHERE participants.participant_id = members.participant_id)');
CALL protect_by_workspace('direct_conversations', p_condition =>
  'EXISTS (SELECT FROM participants WHERE participants.participant_id = direct_conversations.sender_id)', p_check =>
  'EXISTS (SELECT FROM participants WHERE participants.participant_id = direct_conversations.recipient_id)');
CALL protect_by_workspace('attempts', 'SELECT',
  'EXISTS (SELECT FROM deliveries WHERE deliveries.delivery_id = attempts.delivery_id)');
CALL protect_by_workspace('provider_messages', 'SELECT, UPDATE',
  'EXISTS (SELECT FROM channel_accounts WHERE channel_accounts.channel_account_id = provider_messages.channel_account_id)');

CALL open_to_identity('workspaces', 'SELECT, INSERT');
CALL open_to_identity('participants', 'SELECT, INSERT, UPDATE');
CALL open_to_identity('users', 'SELECT, INSERT, UPDATE');
CALL open_to_identity('sessions');
CALL open_to_identity('api_keys', 'SELECT, UPDATE');
CALL open_to_identity('idempotency_keys');

-- Whoever writes to a member of a conversation writes to where that conversation is. The policies see participants and
-- conversations one by one; this holds them together, when the transaction commits and both are there.
CREATE FUNCTION keep_members_together() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NOT EXISTS (
    SELECT FROM conversations c JOIN participants p USING (workspace_id)
    WHERE c.conversation_id = NEW.conversation_id AND p.participant_id = NEW.participant_id
  ) AND EXISTS (
    SELECT FROM members m WHERE m.conversation_id = NEW.conversation_id AND m.participant_id = NEW.participant_id
  ) THEN
    RAISE insufficient_privilege USING MESSAGE = 'a member is of the workspace of its conversation';
  END IF;
  RETURN NULL;
END
$$;
CALL run_as_owner('keep_members_together()');
CREATE CONSTRAINT TRIGGER keep_members_together AFTER INSERT OR UPDATE OF conversation_id, participant_id ON members
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION keep_members_together();

-- Requests publish on the bus, and reach its tables by this function alone.
CALL run_as_owner('bus_append(text, integer[], integer[], text[])', 'chat4all_api, chat4all_pipeline');
