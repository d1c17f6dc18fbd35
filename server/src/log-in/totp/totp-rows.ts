import { type Db, maybe, run } from "../../lib/query.ts";

export interface TotpRow {
  user_id: string;
  workspace_id: string;
  secret_sealed: Buffer;
  last_step: number;
  confirmed_at: Date | null;
}

const columns = "user_id, workspace_id, secret_sealed, last_step, confirmed_at";

export function findTotp(db: Db, userId: string): Promise<TotpRow | null> {
  return maybe<TotpRow>(db, `SELECT ${columns} FROM totp_secrets WHERE user_id = $1`, [userId]);
}

/** Locked until the transaction ends; `busy`, without waiting, when another transaction has the lock. */
export async function lockTotp(tx: Db, userId: string): Promise<TotpRow | null | "busy"> {
  try {
    return await maybe<TotpRow>(tx, `SELECT ${columns} FROM totp_secrets WHERE user_id = $1 FOR UPDATE NOWAIT`, [
      userId,
    ]);
  } catch (error) {
    if ((error as { code?: string }).code === lockNotAvailable) return "busy";
    throw error;
  }
}

/** Source: PostgreSQL 18, appendix A. */
const lockNotAvailable = "55P03";

export async function insertTotp(
  db: Db,
  row: { userId: string; workspaceId: string; secretSealed: Buffer; now: Date },
): Promise<boolean> {
  const written = await run(
    db,
    `INSERT INTO totp_secrets (user_id, workspace_id, secret_sealed, created_at) VALUES ($1, $2, $3, $4)
     ON CONFLICT (user_id) DO UPDATE SET secret_sealed = EXCLUDED.secret_sealed, created_at = EXCLUDED.created_at
       WHERE totp_secrets.confirmed_at IS NULL`,
    [row.userId, row.workspaceId, row.secretSealed, row.now],
  );
  return written === 1;
}

/** False when it is confirmed already, or was replaced concurrently. */
export async function confirmTotp(
  db: Db,
  row: { userId: string; secretSealed: Buffer; step: number; now: Date },
): Promise<boolean> {
  const confirmed = await run(
    db,
    `UPDATE totp_secrets SET confirmed_at = $4, last_step = $3
      WHERE user_id = $1 AND secret_sealed = $2 AND confirmed_at IS NULL`,
    [row.userId, row.secretSealed, row.step, row.now],
  );
  return confirmed === 1;
}

export async function useStep(db: Db, userId: string, step: number): Promise<boolean> {
  const used = await run(db, "UPDATE totp_secrets SET last_step = $2 WHERE user_id = $1 AND last_step < $2", [
    userId,
    step,
  ]);
  return used === 1;
}

export async function useRecoveryCode(db: Db, userId: string, codeHash: Buffer): Promise<boolean> {
  return (await run(db, "DELETE FROM recovery_codes WHERE user_id = $1 AND code_hash = $2", [userId, codeHash])) === 1;
}

export async function insertRecoveryCodes(
  db: Db,
  { userId, workspaceId, codeHashes }: { userId: string; workspaceId: string; codeHashes: Buffer[] },
): Promise<void> {
  await run(db, `INSERT INTO recovery_codes (user_id, workspace_id, code_hash) SELECT $1, $2, unnest($3::bytea[])`, [
    userId,
    workspaceId,
    codeHashes,
  ]);
}

export async function deleteTotp(db: Db, userId: string): Promise<boolean> {
  await run(db, "DELETE FROM recovery_codes WHERE user_id = $1", [userId]);
  return (await run(db, "DELETE FROM totp_secrets WHERE user_id = $1", [userId])) === 1;
}
