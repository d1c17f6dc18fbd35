import { type Db, maybe, run } from "../../lib/query.ts";

export function useIdentity(db: Db, { issuer, subject, now }: { issuer: string; subject: string; now: Date }) {
  return maybe<{ user_id: string; workspace_id: string }>(
    db,
    `UPDATE login_identities SET last_used_at = $3 WHERE issuer = $1 AND subject = $2 RETURNING user_id, workspace_id`,
    [issuer, subject, now],
  );
}

export function insertIdentity(
  db: Db,
  row: { issuer: string; subject: string; userId: string; workspaceId: string; provider: string; now: Date },
) {
  return run(
    db,
    `INSERT INTO login_identities (issuer, subject, user_id, workspace_id, provider, created_at, last_used_at)
     VALUES ($1, $2, $3, $4, $5, $6, $6)`,
    [row.issuer, row.subject, row.userId, row.workspaceId, row.provider, row.now],
  );
}

export function lockUserByEmail(db: Db, email: string) {
  return maybe<{ user_id: string; workspace_id: string; email_verified_at: Date | null; disabled_at: Date | null }>(
    db,
    `SELECT user_id, workspace_id, email_verified_at, disabled_at FROM users WHERE lower(email) = lower($1) FOR UPDATE`,
    [email],
  );
}

/** The person who registered with the address of another keeps nothing that opens the account. */
export function claimAccount(db: Db, userId: string, now: Date) {
  return run(db, "UPDATE users SET password_hash = NULL, email_verified_at = $2 WHERE user_id = $1", [userId, now]);
}

export function deleteIdentitiesOf(db: Db, userId: string): Promise<number> {
  return run(db, "DELETE FROM login_identities WHERE user_id = $1", [userId]);
}

/** Returns whether this is the first use; of two concurrent uses one is. */
export async function useOnce(db: Db, valueHash: Buffer, expiresAt: Date): Promise<boolean> {
  const used = await run(
    db,
    "INSERT INTO login_used_values (value_hash, expires_at) VALUES ($1, $2) ON CONFLICT DO NOTHING",
    [valueHash, expiresAt],
  );
  return used === 1;
}

/** Safe to repeat. Expired values are refused anyway. */
export function deleteOldUsedValues(db: Db, now: Date): Promise<number> {
  return run(db, "DELETE FROM login_used_values WHERE expires_at < $1", [now]);
}
