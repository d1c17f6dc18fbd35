import { type Actor, type Origin, recordAct } from "../audit/audit.ts";
import { RequestError } from "../errors.ts";
import type { Clock } from "../lib/clock.ts";
import { newId } from "../lib/ids.ts";
import { type Pool, transaction } from "../lib/postgres.ts";
import { type Db, maybe, run } from "../lib/query.ts";
import type { Authenticator } from "./authenticate.ts";
import type { PasswordHasher } from "./password.ts";
import type { Principal, Role } from "./principal.ts";
import { recordDisabled, recordRefused, recordReuse, sessionTarget } from "./session-acts.ts";
import { hashToken, newOpaqueToken, type Tokens } from "./tokens.ts";
import { isUsername } from "./username.ts";

/** What a log-in and a refresh answer with. */
export interface TokenPair {
  access_token: string;
  refresh_token: string;
  token_type: "Bearer";
  /** Seconds until the access token expires. */
  expires_in: number;
}

interface SessionDeps {
  db: Pool;
  clock: Clock;
  tokens: Tokens;
}

/**
 * Opens a session for whoever knows the password. An unknown user and a wrong password get the same AUTH_INVALID after
 * the same work. OVERLOADED when too many passwords are being checked.
 */
export async function logIn(
  deps: SessionDeps & { hasher: PasswordHasher },
  origin: Origin,
  { username, password }: { username: string; password: string },
): Promise<TokenPair & { user_id: string }> {
  const user = isUsername(username) ? await findByUsername(deps.db, username) : null;
  const isRight = user?.password_hash
    ? await deps.hasher.verify(user.password_hash, password)
    : await deps.hasher.verifyNothing(password);
  if (user === null || !isRight) {
    await recordRefused(deps.db, origin, user, user === null ? "unknown_user" : "wrong_password");
    throw wrongPassword();
  }
  const tokens = await openSession(deps, { userId: user.user_id, origin, method: "password" });
  return { ...tokens, user_id: user.user_id };
}

/** A log-in that proved who it is. */
export interface LogIn {
  userId: string;
  origin: Origin;
  /** How it was proved, for the audit log: such as `password`. */
  method: string;
}

/** A new session of a user who has proved who they are. AUTH_INVALID when the user is disabled. */
export async function openSession(
  { db, clock, tokens }: SessionDeps,
  { userId, origin, method }: LogIn,
): Promise<TokenPair> {
  const nowMs = clock.now();
  const sessionId = newId(nowMs);
  const refreshToken = newRefreshToken(newOpaqueToken(""));
  const row = {
    sessionId,
    userId,
    ...refreshHashes(refreshToken),
    expiresAt: new Date(nowMs + tokens.refreshTokenTtlMs),
    now: new Date(nowMs),
  };
  const user = await transaction(db, async (tx) => {
    const inserted = await insertSession(tx, row);
    if (inserted === null) return null;
    const by: Actor = { kind: "user", callerId: userId, workspaceId: inserted.workspace_id, origin };
    await recordAct(tx, by, { action: "session.opened", target: sessionTarget(sessionId), details: { method } });
    return inserted;
  });
  if (user === null) await recordDisabled(db, origin, userId);
  if (user === null) throw new RequestError("AUTH_INVALID", "This user is disabled: ask an admin of the workspace.");
  return pair(tokens, { userId, sessionId, workspaceId: user.workspace_id, role: user.role }, refreshToken);
}

/**
 * A new pair for a refresh token, which works once. The second use of any token of a session means that two hold it, so
 * it ends the whole session (AUTH_INVALID). That is strict: of twenty uses at the same moment one gets a pair, and the
 * session is over; a client sends one refresh at a time. Each refresh lets the session live `refreshTokenTtlMs` more.
 */
export async function refreshSession(
  { db, clock, tokens, forget }: SessionDeps & Pick<Authenticator, "forget">,
  origin: Origin,
  refreshToken: string,
): Promise<TokenPair> {
  const family = refreshTokenPattern.exec(refreshToken)?.[1];
  if (family === undefined) throw invalidRefreshToken();
  const nowMs = clock.now();
  const next = newRefreshToken(family);
  const row = {
    ...refreshHashes(refreshToken),
    nextHash: hashToken(next),
    expiresAt: new Date(nowMs + tokens.refreshTokenTtlMs),
    now: new Date(nowMs),
  };
  const session = await transaction(db, async (tx) => {
    const found = await rotateOrRevoke(tx, row);
    if (found?.is_revoked) await recordReuse(tx, origin, found);
    return found;
  });
  if (session === null) throw invalidRefreshToken();
  const { session_id: sessionId, user_id: userId, workspace_id: workspaceId, role } = session;
  if (session.is_revoked) {
    forget(sessionId);
    throw invalidRefreshToken();
  }
  if (!session.is_rotated) throw new RequestError("AUTH_EXPIRED", "The refresh token has expired: log in again.");
  return pair(tokens, { userId, sessionId, workspaceId, role }, next);
}

/** Ends the caller's session: at once in this process, within 60 s in the others. FORBIDDEN for an API key. */
export async function logOut(
  { db, clock, forget }: { db: Pool; clock: Clock } & Pick<Authenticator, "forget">,
  principal: Principal,
): Promise<void> {
  const { sessionId } = principal;
  if (sessionId === null) {
    throw new RequestError("FORBIDDEN", "An API key has no session: delete it with DELETE /v1/api-keys/{id}.");
  }
  await transaction(db, async (tx) => {
    const text = "UPDATE sessions SET revoked_at = $2 WHERE session_id = $1 AND revoked_at IS NULL";
    const ended = await run(tx, text, [sessionId, new Date(clock.now())]);
    if (ended === 1) await recordAct(tx, principal, { action: "session.ended", target: sessionTarget(sessionId) });
  });
  forget(sessionId);
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

const refreshTokenPrefix = "c4r_";

/** The part that the session's tokens share, then the part that is this token's own; 256 random bits each. */
const refreshTokenPattern = /^c4r_([\w-]{43})[\w-]{43}$/;

function newRefreshToken(family: string): string {
  return newOpaqueToken(refreshTokenPrefix + family);
}

function refreshHashes(refreshToken: string): { familyHash: Buffer; refreshHash: Buffer } {
  const family = refreshTokenPattern.exec(refreshToken)![1]!;
  return { familyHash: hashToken(family), refreshHash: hashToken(refreshToken) };
}

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

function findByUsername(db: Db, username: string) {
  return maybe<{ user_id: string; workspace_id: string; password_hash: string | null }>(
    db,
    "SELECT user_id, workspace_id, password_hash FROM users WHERE lower(username) = lower($1)",
    [username],
  );
}

function insertSession(
  db: Db,
  row: { sessionId: string; userId: string; familyHash: Buffer; refreshHash: Buffer; expiresAt: Date; now: Date },
) {
  return maybe<{ workspace_id: string; role: Role }>(
    db,
    `WITH live AS (SELECT user_id, workspace_id, role FROM users WHERE user_id = $2 AND disabled_at IS NULL),
     opened AS (
       INSERT INTO sessions (session_id, user_id, family_hash, refresh_hash, expires_at, created_at)
       SELECT $1, user_id, $3, $4, $5, $6 FROM live
     )
     SELECT workspace_id, role FROM live`,
    [row.sessionId, row.userId, row.familyHash, row.refreshHash, row.expiresAt, row.now],
  );
}

/**
 * One statement decides under the row's lock: the current token of a live session is replaced, a used one (or a user
 * who is disabled) revokes the session, and an expired one changes nothing. No row: unknown, or revoked before.
 */
function rotateOrRevoke(
  db: Db,
  row: { familyHash: Buffer; refreshHash: Buffer; nextHash: Buffer; expiresAt: Date; now: Date },
) {
  return maybe<{
    session_id: string;
    user_id: string;
    workspace_id: string;
    role: Role;
    is_rotated: boolean;
    is_revoked: boolean;
  }>(
    db,
    `UPDATE sessions s
        SET refresh_hash = CASE WHEN s.refresh_hash = $2 AND s.expires_at > $5 THEN $3 ELSE s.refresh_hash END,
            expires_at   = CASE WHEN s.refresh_hash = $2 AND s.expires_at > $5 THEN $4 ELSE s.expires_at END,
            revoked_at   = CASE WHEN s.refresh_hash <> $2 OR u.disabled_at IS NOT NULL THEN $5::timestamptz END
       FROM users u
      WHERE s.family_hash = $1 AND s.revoked_at IS NULL AND u.user_id = s.user_id
      RETURNING s.session_id, s.user_id, u.workspace_id, u.role,
                s.refresh_hash = $3 AS is_rotated, s.revoked_at IS NOT NULL AS is_revoked`,
    [row.familyHash, row.refreshHash, row.nextHash, row.expiresAt, row.now],
  );
}

function wrongPassword(): RequestError {
  return new RequestError("AUTH_INVALID", "The username or the password is wrong.");
}

function invalidRefreshToken(): RequestError {
  return new RequestError("AUTH_INVALID", "The refresh token is unknown or was used before: log in again.");
}
