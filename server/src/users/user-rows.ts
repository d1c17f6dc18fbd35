import type { Role } from "../../../contract/src/access.ts";
import type { PageRequest } from "../lib/page-bytes.ts";
import { all, type Db, maybe, one, run } from "../lib/query.ts";

/** Without secrets: everyone in the workspace may see it. */
export interface User {
  user_id: string;
  workspace_id: string;
  username: string;
  email: string;
  display_name: string;
  role: Role;
  disabled_at: Date | null;
  preferred_model: string | null;
  llm_api_key_configured: boolean;
  created_at: Date;
}

const columns = `u.user_id, u.workspace_id, u.username, u.email, p.display_name, u.role, u.disabled_at,
       u.preferred_model, u.llm_api_key_sealed IS NOT NULL AS llm_api_key_configured, u.created_at`;

export function insertUser(
  db: Db,
  row: {
    userId: string;
    workspaceId: string;
    username: string;
    email: string;
    passwordHash: string | null;
    displayName: string;
    role: Role;
    isEmailVerified: boolean;
    now: Date;
  },
): Promise<User> {
  return one<User>(
    db,
    `WITH p AS (
       INSERT INTO participants (participant_id, workspace_id, kind, display_name, created_at)
       VALUES ($1, $2, 'user', $6, $8) RETURNING display_name
     ), u AS (
       INSERT INTO users (user_id, workspace_id, username, email, password_hash, role, email_verified_at, created_at)
       VALUES ($1, $2, $3, $4, $5, $7, CASE WHEN $9 THEN $8::timestamptz END, $8) RETURNING *
     )
     SELECT ${columns} FROM u, p`,
    [
      row.userId,
      row.workspaceId,
      row.username,
      row.email,
      row.passwordHash,
      row.displayName,
      row.role,
      row.now,
      row.isEmailVerified,
    ],
  );
}

export function findUser(db: Db, { workspaceId, userId }: { workspaceId: string; userId: string }) {
  return maybe<User>(
    db,
    `SELECT ${columns} FROM users u JOIN participants p ON p.participant_id = u.user_id
      WHERE u.user_id = $1 AND u.workspace_id = $2 AND p.deleted_at IS NULL`,
    [userId, workspaceId],
  );
}

/** Newest first, up to `limit + 1`. `query` is a part of a name or the email address, as in `search_text`. */
export function listUsers(
  db: Db,
  workspaceId: string,
  page: PageRequest & { query?: string | undefined },
): Promise<User[]> {
  return all<User>(
    db,
    `SELECT ${columns} FROM users u JOIN participants p ON p.participant_id = u.user_id
      WHERE u.workspace_id = $1 AND p.deleted_at IS NULL
        AND ($2::text IS NULL OR position(search_text($2)
          IN search_text(concat_ws(E'\n', u.username, u.email, p.display_name))) > 0)
        AND ($3::timestamptz IS NULL OR (u.created_at, u.user_id) < ($3, $4::uuid))
      ORDER BY u.created_at DESC, u.user_id DESC LIMIT $5`,
    [workspaceId, page.query ?? null, page.after?.at, page.after?.id, page.limit + 1],
  );
}

/** In one order: of two changes that would each leave the other admin, the second sees the first. */
export function lockAdmins(tx: Db, workspaceId: string) {
  return all<{ user_id: string }>(
    tx,
    `SELECT user_id FROM users WHERE workspace_id = $1 AND role = 'admin' AND disabled_at IS NULL
      ORDER BY user_id FOR UPDATE`,
    [workspaceId],
  );
}

export function lockUser(tx: Db, { workspaceId, userId }: { workspaceId: string; userId: string }) {
  return maybe<{ role: Role; disabled_at: Date | null }>(
    tx,
    `SELECT role, disabled_at FROM users WHERE user_id = $1 AND workspace_id = $2 AND ${isNotDeleted} FOR UPDATE`,
    [userId, workspaceId],
  );
}

// The statements below lock the user's row before the participant's, as `lockAdmins` does, so that they do not
// deadlock.

/** Undefined leaves a field unchanged. False when there is no such user. */
export async function updateUserRow(
  db: Db,
  { workspaceId, userId }: { workspaceId: string; userId: string },
  changes: { role?: Role | undefined; displayName?: string | undefined; isDisabled?: boolean | undefined; now: Date },
): Promise<boolean> {
  const updated = await run(
    db,
    `WITH u AS (
       UPDATE users
          SET role = coalesce($3, role),
              disabled_at = CASE $4::boolean WHEN true THEN coalesce(disabled_at, $5) WHEN false THEN NULL
                                             ELSE disabled_at END
        WHERE user_id = $1 AND workspace_id = $2 AND ${isNotDeleted}
        RETURNING user_id
     )
     UPDATE participants SET display_name = coalesce($6, display_name) FROM u WHERE participant_id = u.user_id`,
    [userId, workspaceId, changes.role, changes.isDisabled, changes.now, changes.displayName],
  );
  return updated === 1;
}

export async function updateOwnRow(
  db: Db,
  userId: string,
  changes: {
    displayName?: string | undefined;
    preferredModel?: string | null | undefined;
    llmApiKeySealed?: Buffer | null | undefined;
  },
): Promise<void> {
  await run(
    db,
    `WITH u AS (
       UPDATE users
          SET preferred_model = CASE WHEN $2::boolean THEN $3 ELSE preferred_model END,
              llm_api_key_sealed = CASE WHEN $4::boolean THEN $5 ELSE llm_api_key_sealed END
        WHERE user_id = $1 AND ${isNotDeleted}
        RETURNING user_id
     )
     UPDATE participants SET display_name = coalesce($6, display_name) FROM u WHERE participant_id = u.user_id`,
    [
      userId,
      changes.preferredModel !== undefined,
      changes.preferredModel,
      changes.llmApiKeySealed !== undefined,
      changes.llmApiKeySealed,
      changes.displayName,
    ],
  );
}

/** False when there is no such user, or it was deleted before. */
export async function anonymiseUser(
  db: Db,
  { workspaceId, userId }: { workspaceId: string; userId: string },
  now: Date,
): Promise<boolean> {
  const updated = await run(
    db,
    `WITH u AS (
       UPDATE users
          SET username = 'deleted-' || user_id, email = user_id || '@deleted.invalid', password_hash = NULL,
              preferred_model = NULL, llm_api_key_sealed = NULL, disabled_at = coalesce(disabled_at, $3)
        WHERE user_id = $1 AND workspace_id = $2 AND ${isNotDeleted}
        RETURNING user_id
     )
     UPDATE participants SET display_name = 'Deleted user', deleted_at = $3 FROM u WHERE participant_id = u.user_id`,
    [userId, workspaceId, now],
  );
  return updated === 1;
}

const isNotDeleted =
  "EXISTS (SELECT FROM participants p WHERE p.participant_id = users.user_id AND p.deleted_at IS NULL)";
