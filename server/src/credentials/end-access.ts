import type { Clock } from "../lib/clock.ts";
import { type Db, maybe, one, run } from "../lib/query.ts";
import type { Principal } from "./principal.ts";
import { endedSession, invalidApiKey } from "./tokens.ts";

/** What ends together with a password, in case others knew it. */
export interface Ending {
  /** Default: true. */
  sessions?: boolean | undefined;
  /** For API keys, invitations, resets and endpoints; undefined: since all of them last ended, null: none. */
  apiKeysSince?: Date | null | undefined;
}

export const allTime = new Date(0);

export type Ended = Record<"sessions" | "api_keys" | "invitations" | "password_resets" | "webhook_endpoints", number>;

/**
 * Ends all sessions except one, and what the user created. Call `forget` with the user after the commit.
 *
 * The default date moves only when everything since that date has ended. So a thief who changes the password, or
 * changes it and changes it back, cannot save a key from the next change.
 */
export async function endAccess(
  tx: Db,
  { userId, keptSessionId = null, now }: { userId: string; keptSessionId?: string | null; now: Date },
  { sessions = true, apiKeysSince }: Ending,
): Promise<Ended> {
  // Under this lock a concurrent login either ends with the others or opens no session; see `lockCreator` too.
  const { ended_at } = await one<{ ended_at: Date }>(
    tx,
    "SELECT coalesce(access_ended_at, created_at) AS ended_at FROM users WHERE user_id = $1 FOR UPDATE",
    [userId],
  );
  const endedSessions = sessions
    ? await run(
        tx,
        `UPDATE sessions SET revoked_at = $3
          WHERE user_id = $1 AND session_id IS DISTINCT FROM $2 AND revoked_at IS NULL`,
        [userId, keptSessionId, now],
      )
    : 0;
  const nothing = { api_keys: 0, invitations: 0, password_resets: 0, webhook_endpoints: 0 };
  if (apiKeysSince === null) return { sessions: endedSessions, ...nothing };
  const since = apiKeysSince ?? ended_at;
  // After the sessions: what one of them was creating is committed by now, or will be refused.
  const ended = await endMadeBy(tx, { userId, since, now });
  if (since <= ended_at) {
    await run(tx, "UPDATE users SET access_ended_at = $2 WHERE user_id = $1", [userId, now]);
  }
  return { sessions: endedSessions, ...ended };
}

async function endMadeBy(tx: Db, { userId, since, now }: { userId: string; since: Date; now: Date }) {
  return {
    api_keys: await run(
      tx,
      "UPDATE api_keys SET revoked_at = $3 WHERE created_by = $1 AND created_at >= $2 AND revoked_at IS NULL",
      [userId, since, now],
    ),
    invitations: await run(
      tx,
      `UPDATE invitations SET revoked_at = $3
        WHERE invited_by = $1 AND created_at >= $2 AND revoked_at IS NULL AND accepted_at IS NULL`,
      [userId, since, now],
    ),
    password_resets: await run(
      tx,
      "UPDATE password_resets SET used_at = $3 WHERE requested_by = $1 AND created_at >= $2 AND used_at IS NULL",
      [userId, since, now],
    ),
    webhook_endpoints: await run(
      tx,
      `UPDATE webhook_endpoints SET is_authorized = false WHERE webhook_endpoint_id IN (
         SELECT webhook_endpoint_id FROM webhook_endpoints
          WHERE made_by = $1 AND made_at >= $2 AND status = 'enabled' AND is_authorized
          ORDER BY webhook_endpoint_id FOR UPDATE)`,
      [userId, since],
    ),
  };
}

/** Who creates something that ends with its creator. See "What is revoked together" in SECURITY.md. */
export interface Creator {
  userId: string;
  apiKeyId: string | null;
  /** Now, but not before the last time that the user's access ended. */
  at: Date;
}

/**
 * AUTH_INVALID or API_KEY_INVALID unless the credential is valid. A concurrent statement that ends it either runs
 * before, or finds what was created.
 */
export async function lockCreator(tx: Db, clock: Clock, principal: Principal): Promise<Creator> {
  const { kind, callerId, sessionId, userId } = principal;
  const user = await maybe<{ access_ended_at: Date | null }>(
    tx,
    "SELECT access_ended_at FROM users WHERE user_id = $1 FOR KEY SHARE",
    [userId],
  );
  if (kind === "api_key") {
    const text = "SELECT FROM api_keys WHERE api_key_id = $1 AND revoked_at IS NULL FOR SHARE";
    if ((await maybe(tx, text, [callerId])) === null) throw invalidApiKey();
  } else if (sessionId !== null) {
    const text = "SELECT FROM sessions WHERE session_id = $1 AND revoked_at IS NULL";
    if ((await maybe(tx, text, [sessionId])) === null) throw endedSession();
  }
  const at = new Date(Math.max(clock.now(), user?.access_ended_at?.getTime() ?? 0));
  return { userId, apiKeyId: kind === "api_key" ? callerId : null, at };
}
