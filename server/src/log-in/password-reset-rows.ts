import type { Role } from "../../../contract/src/access.ts";
import type { Creator } from "../credentials/credentials.ts";
import type { PipelineDb } from "../database-roles.ts";
import type { Clock } from "../lib/clock.ts";
import { type Db, maybe, run } from "../lib/query.ts";

export function setPassword(db: Db, row: { userId: string; passwordHash: string; provesEmail: boolean; now: Date }) {
  return run(
    db,
    `UPDATE users
        SET password_hash = $2, email_verified_at = CASE WHEN $3 THEN coalesce(email_verified_at, $4) ELSE email_verified_at END
      WHERE user_id = $1`,
    [row.userId, row.passwordHash, row.provesEmail, row.now],
  );
}

export function lockLiveUser(tx: Db, key: { workspaceId: string; userId: string }) {
  return maybe<{ email: string; role: Role }>(
    tx,
    "SELECT email, role FROM users WHERE user_id = $1 AND workspace_id = $2 AND disabled_at IS NULL FOR SHARE",
    [key.userId, key.workspaceId],
  );
}

/** Locked, so that of two concurrent requests one sends an email. */
export function lockUserByEmail(db: Db, email: string) {
  return maybe<{ user_id: string; workspace_id: string; email: string }>(
    db,
    `SELECT user_id, workspace_id, email FROM users
      WHERE lower(email) = lower($1) AND disabled_at IS NULL FOR UPDATE`,
    [email],
  );
}

export async function wasJustMailed(db: Db, userId: string, since: Date): Promise<boolean> {
  const row = await maybe(
    db,
    "SELECT FROM password_resets WHERE user_id = $1 AND requested_by IS NULL AND created_at > $2",
    [userId, since],
  );
  return row !== null;
}

export function insertReset(
  db: Db,
  row: {
    tokenHash: Buffer;
    userId: string;
    workspaceId: string;
    creator: Pick<Creator, "userId" | "apiKeyId"> | null;
    now: Date;
    expiresAt: Date;
  },
) {
  return run(
    db,
    `INSERT INTO password_resets (token_hash, user_id, workspace_id, requested_by, made_by_key, created_at, expires_at)
     VALUES ($1, $2, $3, $4, $5, $6, $7)`,
    [row.tokenHash, row.userId, row.workspaceId, row.creator?.userId, row.creator?.apiKeyId, row.now, row.expiresAt],
  );
}

const isUsable = `r.token_hash = $1 AND r.used_at IS NULL AND r.expires_at > $2 AND u.user_id = r.user_id
  AND u.disabled_at IS NULL
  AND (r.requested_by IS NULL OR admin_holds(r.requested_by, r.made_by_key, $2))`;

export async function isResetOpen(db: Db, tokenHash: Buffer, now: Date): Promise<boolean> {
  return (await maybe(db, `SELECT FROM password_resets r, users u WHERE ${isUsable}`, [tokenHash, now])) !== null;
}

export function takeReset(db: Db, tokenHash: Buffer, now: Date) {
  return maybe<{ user_id: string; workspace_id: string; requested_by: string | null }>(
    db,
    // Locks the user first, as every statement does that ends resets, so that two cannot deadlock.
    `WITH u AS MATERIALIZED (SELECT * FROM users
       WHERE user_id = (SELECT user_id FROM password_resets WHERE token_hash = $1) FOR NO KEY UPDATE)
     UPDATE password_resets r SET used_at = $2 FROM u WHERE ${isUsable}
     RETURNING r.user_id, r.workspace_id, r.requested_by`,
    [tokenHash, now],
  );
}

export function endResets(db: Db, userId: string, now: Date) {
  return run(db, "UPDATE password_resets SET used_at = $2 WHERE user_id = $1 AND used_at IS NULL", [userId, now]);
}

export function deleteOldPasswordResets({ db, clock }: { db: PipelineDb; clock: Clock }): Promise<number> {
  return run(db, "DELETE FROM password_resets WHERE expires_at < $1", [new Date(clock.now())]);
}
