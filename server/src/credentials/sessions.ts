import type { Role } from "../../../contract/src/access.ts";
import { type Actor, type Origin, recordAuditEvent } from "../audit/audit.ts";
import type { IdentityDb, PipelineDb } from "../database-roles.ts";
import { RequestError } from "../errors.ts";
import type { Clock } from "../lib/clock.ts";
import { newId } from "../lib/ids.ts";
import { transaction } from "../lib/postgres.ts";
import { type Db, maybe, run } from "../lib/query.ts";
import { endAccess } from "./end-access.ts";
import type { Forget, Principal } from "./principal.ts";
import { newRefreshToken, newSalt, type RefreshToken, readRefreshToken, successorOf } from "./refresh-token.ts";
import type { Tokens } from "./tokens.ts";

export interface TokenPair {
  access_token: string;
  refresh_token: string;
  token_type: "Bearer";
  /** Seconds until the access token expires. */
  expires_in: number;
}

export interface SessionDeps {
  db: IdentityDb;
  clock: Clock;
  tokens: Tokens;
}

interface LogIn {
  userId: string;
  origin: Origin;
  method: string;
  /** The hash that the password matched: the login fails if it has been replaced. */
  passwordHash?: string | null;
}

/** AUTH_INVALID when the user is disabled, or the password has changed. */
export async function openSession(
  { db, clock, tokens }: SessionDeps,
  { userId, origin, method, passwordHash = null }: LogIn,
): Promise<TokenPair> {
  const nowMs = clock.now();
  const sessionId = newId(nowMs);
  const refreshToken = newRefreshToken();
  const times = { nowMs, ttlMs: tokens.refreshTokenTtlMs };
  const user = await transaction(db, async (tx) => {
    const inserted = await insertSession(tx, { sessionId, userId, passwordHash }, refreshToken, times);
    if (inserted === null) return null;
    const by: Actor = { kind: "user", callerId: userId, workspaceId: inserted.workspace_id, origin };
    await recordAuditEvent(tx, by, { action: "session.opened", target: sessionTarget(sessionId), details: { method } });
    return inserted;
  });
  if (user === null) {
    const isDisabled = await recordOutdatedLogIn(db, origin, userId);
    const message = isDisabled
      ? "This user is disabled: ask an admin of the workspace."
      : "The password has been changed.";
    throw new RequestError("AUTH_INVALID", message);
  }
  return pair(tokens, { userId, sessionId, workspaceId: user.workspace_id, role: user.role }, refreshToken.token);
}

/** Ends the caller's session: at once in this process, within `recheckMs` in the others. FORBIDDEN for an API key. */
export async function logOut(
  { db, clock, forget }: { db: IdentityDb; clock: Clock } & Forget,
  principal: Principal,
): Promise<void> {
  const { sessionId } = principal;
  if (sessionId === null) throw hasNoSession();
  await transaction(db, async (tx) => {
    const text = "UPDATE sessions SET revoked_at = $2 WHERE session_id = $1 AND revoked_at IS NULL";
    const ended = await run(tx, text, [sessionId, new Date(clock.now())]);
    if (ended === 1)
      await recordAuditEvent(tx, principal, { action: "session.ended", target: sessionTarget(sessionId) });
  });
  forget(sessionId);
}

/** Ends all sessions of the caller, and what `endAccess` ends with `apiKeysSince`. FORBIDDEN for an API key. */
export async function logOutEverywhere(
  { db, clock, forget }: { db: IdentityDb; clock: Clock } & Forget,
  principal: Principal,
  { apiKeysSince }: { apiKeysSince: Date | null },
): Promise<void> {
  const { userId, sessionId } = principal;
  if (sessionId === null) throw hasNoSession();
  const now = new Date(clock.now());
  await transaction(db, async (tx) => {
    const details = await endAccess(tx, { userId, now }, { apiKeysSince });
    await recordAuditEvent(tx, principal, {
      action: "session.all_ended",
      target: { type: "user", id: userId },
      details,
    });
  });
  forget(userId);
}

function hasNoSession(): RequestError {
  return new RequestError("FORBIDDEN", "An API key has no session: delete it with DELETE /v1/api-keys/{id}.");
}

/** Call `forget` with the user after the commit. */
export function revokeSessionsOf(db: Db, userId: string, now: Date): Promise<number> {
  return run(db, "UPDATE sessions SET revoked_at = $2 WHERE user_id = $1 AND revoked_at IS NULL", [userId, now]);
}

/** Deletes sessions whose access tokens have all expired. Safe to repeat. */
export function deleteOldSessions({ db, clock }: { db: PipelineDb; clock: Clock }): Promise<number> {
  return run(db, "DELETE FROM sessions WHERE expires_at < $1", [new Date(clock.now() - keepEndedMs)]);
}

const keepEndedMs = 2 * 86_400_000;

async function pair(
  tokens: Tokens,
  claims: { userId: string; sessionId: string; workspaceId: string; role: Role },
  refreshToken: string,
): Promise<TokenPair> {
  return {
    access_token: await tokens.issue(claims),
    refresh_token: refreshToken,
    token_type: "Bearer",
    expires_in: Math.floor(tokens.accessTokenTtlMs / 1000),
  };
}

interface Times {
  nowMs: number;
  ttlMs: number;
}

/** Under this lock a concurrent end of all sessions either includes the new one or prevents it. */
function insertSession(
  db: Db,
  { sessionId, userId, passwordHash }: { sessionId: string; userId: string; passwordHash: string | null },
  { familyHash, hash }: RefreshToken,
  { nowMs, ttlMs }: Times,
) {
  return maybe<{ workspace_id: string; role: Role }>(
    db,
    `WITH live AS (
       SELECT user_id, workspace_id, role FROM users
        WHERE user_id = $2 AND disabled_at IS NULL AND ($7::text IS NULL OR password_hash = $7) FOR SHARE
     ), opened AS (
       INSERT INTO sessions (session_id, user_id, family_hash, refresh_hash, expires_at, created_at)
       SELECT $1, user_id, $3, $4, $5, $6 FROM live
     )
     SELECT workspace_id, role FROM live`,
    [sessionId, userId, familyHash, hash, new Date(nowMs + ttlMs), new Date(nowMs), passwordHash],
  );
}

/** How long a used token may be used again, in case the response was lost, in milliseconds. */
export const refreshGraceMs = 10_000;

/**
 * Exchanges a refresh token, which works once, for a new pair. Used again within `refreshGraceMs` it returns the same
 * successor, as long as that was not used: so a client that lost the response, or sends two requests at once, continues.
 * Every other second use of any token of a session means that two clients hold it, and ends the session (AUTH_INVALID).
 * Each refresh extends the session by `refreshTokenTtlMs`.
 */
export async function refreshSession(
  { db, clock, tokens, forget }: SessionDeps & Forget,
  origin: Origin,
  refreshToken: string,
): Promise<TokenPair> {
  const used = readRefreshToken(refreshToken);
  if (used === null) throw invalidRefreshToken();
  const times = { nowMs: clock.now(), ttlMs: tokens.refreshTokenTtlMs };
  const session = await transaction(db, async (tx) => {
    const found = await rotateOrRevoke(tx, used, times);
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
 * One statement decides under the lock of the row. It replaces the current token, unless that has expired. The previous
 * token returns its successor within the grace period. Any other token, or a disabled user, revokes the session. No
 * row: unknown, or already revoked.
 */
function rotateOrRevoke(db: Db, used: RefreshToken, { nowMs, ttlMs }: Times) {
  const salt = newSalt();
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
    [
      used.familyHash,
      used.hash,
      successorOf(used, salt).hash,
      salt,
      new Date(nowMs + ttlMs),
      new Date(nowMs),
      new Date(nowMs - refreshGraceMs),
    ],
  );
}

function invalidRefreshToken(): RequestError {
  return new RequestError("AUTH_INVALID", "The refresh token is unknown or was used before: log in again.");
}

export type RefusedReason =
  | "unknown_user"
  | "wrong_password"
  | "wrong_second_factor"
  | "user_disabled"
  | "provider_log_in";

export async function recordRefusedSession(
  db: Db,
  origin: Origin,
  { workspaceId, userId }: { workspaceId: string; userId: string | null },
  reason: RefusedReason,
): Promise<void> {
  const target = userId === null ? null : { type: "user", id: userId };
  const by: Actor = { kind: "anonymous", workspaceId, origin };
  await recordAuditEvent(db, by, { action: "session.refused", target, details: { reason } });
}

/** For a user who was disabled, or whose password changed, during the login. Returns whether the user is disabled. */
async function recordOutdatedLogIn(db: Db, origin: Origin, userId: string): Promise<boolean> {
  const text = "SELECT workspace_id, disabled_at IS NOT NULL AS is_disabled FROM users WHERE user_id = $1";
  const user = await maybe<{ workspace_id: string; is_disabled: boolean }>(db, text, [userId]);
  if (user === null) return true;
  const reason = user.is_disabled ? "user_disabled" : "wrong_password";
  await recordRefusedSession(db, origin, { workspaceId: user.workspace_id, userId }, reason);
  return user.is_disabled;
}

function recordTokenReuse(
  tx: Db,
  origin: Origin,
  session: { session_id: string; user_id: string; workspace_id: string },
) {
  return recordAuditEvent(
    tx,
    { kind: "anonymous", workspaceId: session.workspace_id, origin },
    {
      action: "session.revoked",
      target: sessionTarget(session.session_id),
      details: { reason: "refresh_token_used_twice", user_id: session.user_id },
    },
  );
}

function sessionTarget(sessionId: string) {
  return { type: "session", id: sessionId };
}
