import type { Clock } from "../lib/clock.ts";
import { type Db, maybe } from "../lib/query.ts";
import { endedSession, invalidApiKey } from "./caller-errors.ts";
import type { Principal } from "./principal.ts";

/** Who makes something that ends with its maker. See "What ends together" in SECURITY.md. */
export interface Maker {
  userId: string;
  /** Null: a logged-in user. */
  apiKeyId: string | null;
  /** Now, and never before the moment at which the user last ended what they had made. */
  at: Date;
}

/**
 * The caller as a maker, whose session or API key still works and does so until the transaction ends: a statement that
 * ends the credential meanwhile either runs before, or finds what was made. AUTH_INVALID or API_KEY_INVALID otherwise.
 */
export async function lockMaker(tx: Db, clock: Clock, principal: Principal): Promise<Maker> {
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
