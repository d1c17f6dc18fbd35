import type { Role } from "../../../contract/src/access.ts";
import type { Origin } from "../audit/audit.ts";
import { RequestError } from "../errors.ts";
import { transaction } from "../lib/postgres.ts";
import { type Db, maybe } from "../lib/query.ts";
import type { Forget } from "./forget.ts";
import { newSalt, readRefreshToken, successorOf } from "./refresh-token.ts";
import { recordTokenReuse } from "./session-audit.ts";
import { pair, type SessionDeps, type TokenPair } from "./sessions.ts";

/** How long a token that was used may be used again, as if the answer to its use was lost, in milliseconds. */
export const refreshGraceMs = 10_000;

/**
 * A new pair for a refresh token, which works once. Used again within `refreshGraceMs` it gets the same successor, as
 * long as that was not used itself: so a client that lost the answer, or asks twice at once, goes on, while of two who
 * each refresh when they need to, the second comes too late. Every other second use of any token of a session means that
 * two hold it, and ends the whole session (AUTH_INVALID). Each refresh lets the session live `refreshTokenTtlMs` more.
 */
export async function refreshSession(
  { db, clock, tokens, forget }: SessionDeps & Forget,
  origin: Origin,
  refreshToken: string,
): Promise<TokenPair> {
  const used = readRefreshToken(refreshToken);
  if (used === null) throw invalidRefreshToken();
  const nowMs = clock.now();
  const salt = newSalt();
  const row = {
    familyHash: used.familyHash,
    hash: used.hash,
    nextHash: successorOf(used, salt).hash,
    salt,
    expiresAt: new Date(nowMs + tokens.refreshTokenTtlMs),
    now: new Date(nowMs),
    graceSince: new Date(nowMs - refreshGraceMs),
  };
  const session = await transaction(db, async (tx) => {
    const found = await rotateOrRevoke(tx, row);
    if (found?.is_revoked) await recordTokenReuse(tx, origin, found);
    return found;
  });
  if (session === null) throw invalidRefreshToken();
  const { session_id: sessionId, user_id: userId, workspace_id: workspaceId, role } = session;
  if (session.is_revoked) {
    forget(sessionId);
    throw invalidRefreshToken();
  }
  if (session.is_expired) throw new RequestError("AUTH_EXPIRED", "The refresh token has expired: log in again.");
  return pair(tokens, { userId, sessionId, workspaceId, role }, successorOf(used, session.successor_salt).token);
}

/**
 * One statement decides under the row's lock. The current token of a live session is replaced, and an expired one
 * changes nothing. The one before it gets what replaced it, within the grace; after that, as any older token at any time,
 * it revokes the session, and so does a user who is disabled. No row: unknown, or revoked before.
 */
function rotateOrRevoke(
  db: Db,
  row: {
    familyHash: Buffer;
    hash: Buffer;
    nextHash: Buffer;
    salt: Buffer;
    expiresAt: Date;
    now: Date;
    graceSince: Date;
  },
) {
  const isCurrent = "s.refresh_hash = $2";
  const isGraced = "coalesce(s.previous_hash = $2 AND s.rotated_at > $7, false)";
  const rotates = `${isCurrent} AND s.expires_at > $6`;
  return maybe<{
    session_id: string;
    user_id: string;
    workspace_id: string;
    role: Role;
    successor_salt: Buffer;
    is_revoked: boolean;
    is_expired: boolean;
  }>(
    db,
    `UPDATE sessions s
        SET refresh_hash   = CASE WHEN ${rotates} THEN $3 ELSE s.refresh_hash END,
            previous_hash  = CASE WHEN ${rotates} THEN s.refresh_hash ELSE s.previous_hash END,
            successor_salt = CASE WHEN ${rotates} THEN $4 ELSE s.successor_salt END,
            rotated_at     = CASE WHEN ${rotates} THEN $6::timestamptz ELSE s.rotated_at END,
            expires_at     = CASE WHEN ${rotates} THEN $5 ELSE s.expires_at END,
            revoked_at     = CASE WHEN NOT (${isCurrent} OR ${isGraced}) OR u.disabled_at IS NOT NULL THEN $6::timestamptz END
       FROM users u
      WHERE s.family_hash = $1 AND s.revoked_at IS NULL AND u.user_id = s.user_id
      RETURNING s.session_id, s.user_id, u.workspace_id, u.role, s.successor_salt, s.revoked_at IS NOT NULL AS is_revoked,
                s.expires_at <= $6 AS is_expired`,
    [row.familyHash, row.hash, row.nextHash, row.salt, row.expiresAt, row.now, row.graceSince],
  );
}

function invalidRefreshToken(): RequestError {
  return new RequestError("AUTH_INVALID", "The refresh token is unknown or was used before: log in again.");
}
