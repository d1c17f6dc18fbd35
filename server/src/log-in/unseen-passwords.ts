/** Generated passwords that have not been shown yet: see migration 0013. */
import { type Db, maybe, run } from "../lib/query.ts";

/** Another process that is starting shows its password within this time. */
const shownWithinSeconds = 60;

/** An unseen password that is still valid: the user has it and has never logged in. */
export function find(db: Db) {
  return maybe<{ user_id: string; username: string; workspace_id: string; password_hash: string; is_old: boolean }>(
    db,
    `SELECT u.user_id, u.username, u.workspace_id, u.password_hash,
            p.created_at < now() - make_interval(secs => $1) AS is_old
       FROM unseen_passwords p JOIN users u USING (user_id, password_hash)
      WHERE NOT EXISTS (SELECT FROM sessions s WHERE s.user_id = u.user_id)
      LIMIT 1`,
    [shownWithinSeconds],
  );
}

export function remember(db: Db, userId: string, passwordHash: string) {
  return run(db, "INSERT INTO unseen_passwords (user_id, password_hash) VALUES ($1, $2)", [userId, passwordHash]);
}

export async function replace(
  db: Db,
  { userId, passwordHash, oldHash }: { userId: string; passwordHash: string; oldHash: string },
): Promise<boolean> {
  const changed = await run(
    db,
    `WITH p AS (
       UPDATE unseen_passwords SET password_hash = $2, created_at = now() WHERE user_id = $1 AND password_hash = $3
       RETURNING user_id
     )
     UPDATE users u SET password_hash = $2 FROM p WHERE u.user_id = p.user_id AND u.password_hash = $3`,
    [userId, passwordHash, oldHash],
  );
  return changed === 1;
}

export async function forget(db: Db, userId: string, passwordHash: string): Promise<void> {
  await run(db, "DELETE FROM unseen_passwords WHERE user_id = $1 AND password_hash = $2", [userId, passwordHash]);
}
