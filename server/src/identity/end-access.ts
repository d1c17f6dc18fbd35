import { type Db, run } from "../lib/query.ts";

/** What ends together with a password, in case others knew it. */
export interface Ending {
  /** Default: true. */
  sessions?: boolean | undefined;
  /** Keys that the user made at this time or later; undefined: since the password was last set, null: none. */
  apiKeysSince?: Date | null | undefined;
}

/**
 * Ends the user's API keys, and all sessions except one. The caller forgets the user after the commit. Returns how many
 * ended, in the form of an audit record.
 */
export async function endAccess(
  tx: Db,
  { userId, keptSessionId = null, now }: { userId: string; keptSessionId?: string | null; now: Date },
  { sessions = true, apiKeysSince = null }: Ending,
): Promise<{ sessions: number; api_keys: number }> {
  // Under this lock a concurrent log-in either ends with the others or opens no session.
  await run(tx, "SELECT FROM users WHERE user_id = $1 FOR UPDATE", [userId]);
  const endedSessions = sessions
    ? await run(
        tx,
        `UPDATE sessions SET revoked_at = $3
          WHERE user_id = $1 AND session_id IS DISTINCT FROM $2 AND revoked_at IS NULL`,
        [userId, keptSessionId, now],
      )
    : 0;
  // After the sessions: a key that one of them was making is committed by now, or will be refused.
  const endedKeys =
    apiKeysSince === null
      ? 0
      : await run(
          tx,
          "UPDATE api_keys SET revoked_at = $3 WHERE created_by = $1 AND created_at >= $2 AND revoked_at IS NULL",
          [userId, apiKeysSince, now],
        );
  return { sessions: endedSessions, api_keys: endedKeys };
}
