-- Who made what, and with which API key: invitations, password resets and webhook endpoints end with it.

-- Since when the user's API keys, and what else they made, were last ended all together: the default date of the next
-- password change, in place of `password_changed_at`. No change that leaves something older in place moves it. Null: since
-- the user was made.
ALTER TABLE users ADD COLUMN access_ended_at timestamptz;

ALTER TABLE api_keys ADD UNIQUE (workspace_id, api_key_id);
-- Null: a logged-in user made it. The user is in `invited_by` and `requested_by`.
ALTER TABLE invitations ADD COLUMN made_by_key uuid;
ALTER TABLE password_resets ADD COLUMN made_by_key uuid;
-- The user who made or enabled the endpoint last, or changed where it sends or what. Null: it is older than this column.
-- Not `is_authorized`: that user ended what they had made at `made_at`.
ALTER TABLE webhook_endpoints
  ADD COLUMN made_by uuid,
  ADD COLUMN made_by_key uuid,
  ADD COLUMN made_at timestamptz,
  ADD COLUMN is_authorized boolean NOT NULL DEFAULT true,
  DROP CONSTRAINT webhook_endpoints_disabled_reason_check,
  ADD CONSTRAINT webhook_endpoints_disabled_reason_check
    CHECK (disabled_reason IN ('requested', 'gone', 'failing', 'maker_lost_access'));
CREATE INDEX webhook_endpoints_by_maker ON webhook_endpoints (made_by) WHERE status = 'enabled';
CREATE INDEX invitations_by_maker ON invitations (invited_by);

CALL keep_within_workspace('invitations', 'made_by_key', 'api_keys', 'api_key_id');
CALL keep_within_workspace('password_resets', 'made_by_key', 'api_keys', 'api_key_id');
CALL keep_within_workspace('webhook_endpoints', 'made_by', 'users', 'user_id');
CALL keep_within_workspace('webhook_endpoints', 'made_by_key', 'api_keys', 'api_key_id');
ALTER TABLE invitations VALIDATE CONSTRAINT invitations_made_by_key_of_workspace;
ALTER TABLE password_resets VALIDATE CONSTRAINT password_resets_made_by_key_of_workspace;
ALTER TABLE webhook_endpoints VALIDATE CONSTRAINT webhook_endpoints_made_by_of_workspace;
ALTER TABLE webhook_endpoints VALIDATE CONSTRAINT webhook_endpoints_made_by_key_of_workspace;

-- Whether the user is still an enabled admin, and the API key, if it is not null, still works with all keys above it.
CREATE FUNCTION admin_holds(p_user uuid, p_key uuid, p_now timestamptz) RETURNS boolean LANGUAGE sql STABLE AS $$
  SELECT EXISTS (SELECT FROM users u WHERE u.user_id = p_user AND u.role = 'admin' AND u.disabled_at IS NULL)
    AND (p_key IS NULL OR NOT EXISTS (
      SELECT FROM api_keys k JOIN api_keys a ON a.api_key_id = ANY (k.ancestor_ids || k.api_key_id)
      WHERE k.api_key_id = p_key AND (a.revoked_at IS NOT NULL OR a.expires_at <= p_now)))
$$;

-- A password reset ends the endpoints that its user made, before anyone is logged in.
GRANT SELECT (webhook_endpoint_id, made_by, made_at, status, is_authorized), UPDATE (is_authorized) ON webhook_endpoints TO chat4all_identity;
CREATE POLICY of_identity ON webhook_endpoints TO chat4all_identity USING (true) WITH CHECK (true);
