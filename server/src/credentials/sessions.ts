import type { Role } from "../../../contract/src/access.ts";
import { type Actor, type Origin, recordAuditEvent } from "../audit/audit.ts";
import { RequestError } from "../errors.ts";
import type { Clock } from "../lib/clock.ts";
import { newId } from "../lib/ids.ts";
import { type Pool, transaction } from "../lib/postgres.ts";
import { type Db, maybe, run } from "../lib/query.ts";
import { endAccess } from "./end-access.ts";
import type { Forget } from "./forget.ts";
import type { Principal } from "./principal.ts";
import { newRefreshToken } from "./refresh-token.ts";
import { recordOutdatedLogIn, sessionTarget } from "./session-audit.ts";
import type { Tokens } from "./tokens.ts";

/** What a log-in and a refresh answer with. */
export interface TokenPair {
  access_token: string;
  refresh_token: string;
  token_type: "Bearer";
  /** Seconds until the access token expires. */
  expires_in: number;
}

export interface SessionDeps {
  db: Pool;
  clock: Clock;
  tokens: Tokens;
}

/** A log-in that proved who it is. */
export interface LogIn {
  userId: string;
  origin: Origin;
  /** How it was proved, for the audit log: such as `password`. */
  method: string;
  /** The password that was right: if it has been replaced since, it is not any more. */
  passwordHash?: string | null;
}

/**
 * A new session of a user who has proved who they are. AUTH_INVALID when the user is disabled, or the proof is out of
 * date.
 */
export async function openSession(
  { db, clock, tokens }: SessionDeps,
  { userId, origin, method, passwordHash = null }: LogIn,
): Promise<TokenPair> {
  const nowMs = clock.now();
  const sessionId = newId(nowMs);
  const refreshToken = newRefreshToken();
  const row = {
    sessionId,
    userId,
    passwordHash,
    familyHash: refreshToken.familyHash,
    refreshHash: refreshToken.hash,
    expiresAt: new Date(nowMs + tokens.refreshTokenTtlMs),
    now: new Date(nowMs),
  };
  const user = await transaction(db, async (tx) => {
    const inserted = await insertSession(tx, row);
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
  { db, clock, forget }: { db: Pool; clock: Clock } & Forget,
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

/**
 * Ends all sessions of the caller, including this one, and the API keys that the caller made since a time, if it is
 * given. FORBIDDEN for an API key.
 */
export async function logOutEverywhere(
  { db, clock, forget }: { db: Pool; clock: Clock } & Forget,
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

/** Ends all sessions of a user; the caller forgets the user once that is committed. */
export function revokeSessionsOf(db: Db, userId: string, now: Date): Promise<number> {
  return run(db, "UPDATE sessions SET revoked_at = $2 WHERE user_id = $1 AND revoked_at IS NULL", [userId, now]);
}

/** Deletes sessions that ended long enough ago for every access token of theirs to have expired. Safe to repeat. */
export function deleteOldSessions({ db, clock }: { db: Db; clock: Clock }): Promise<number> {
  return run(db, "DELETE FROM sessions WHERE expires_at < $1", [new Date(clock.now() - keepEndedMs)]);
}

/** Longer than any ACCESS_TOKEN_TTL. */
const keepEndedMs = 2 * 86_400_000;

/** An access token with these claims, beside the refresh token. */
export async function pair(
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

/**
 * Ending all sessions of a user locks the user's row: a concurrent log-in either ends with them or opens no session.
 */
function insertSession(
  db: Db,
  row: {
    sessionId: string;
    userId: string;
    passwordHash: string | null;
    familyHash: Buffer;
    refreshHash: Buffer;
    expiresAt: Date;
    now: Date;
  },
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
    [row.sessionId, row.userId, row.familyHash, row.refreshHash, row.expiresAt, row.now, row.passwordHash],
  );
}
