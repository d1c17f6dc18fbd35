import { RequestError } from "../errors.ts";
import type { Clock } from "../lib/clock.ts";
import { type Db, maybe } from "../lib/query.ts";
import { apiKeyPrefix, invalidApiKey, useApiKey } from "./api-keys.ts";
import { type Believed, openCredentialCache } from "./credential-cache.ts";
import { hasRole, noOrigin, type Principal, type Role } from "./principal.ts";
import { expiredToken, hashToken, invalidToken, type Tokens } from "./tokens.ts";

/**
 * Who is calling. The hot path of every request: a credential that was checked within the last `recheckMs` is answered
 * from memory, at once and without a promise. Otherwise the signature is verified here, and one statement asks the
 * database whether session and user still hold and which role the user has now.
 *
 * So a log-out, a disabled user or a changed role counts at once in the process that did it (which calls `forget`), and
 * within `recheckMs` in every other.
 */
export interface Authenticator {
  /**
   * Takes the value of an `authorization` header. Throws (or rejects with) AUTH_REQUIRED, AUTH_INVALID, AUTH_EXPIRED
   * or API_KEY_INVALID.
   */
  authenticate(authorization: string | undefined): Principal | Promise<Principal>;
  /** Takes the id of a session, user or API key that changed, after the change was committed. */
  forget(id: string): void;
}

export interface AuthenticatorDeps {
  db: Db;
  clock: Clock;
  tokens: Tokens;
}

/** How long the database's word counts. Half of the 60 s promised, so that a slow check does not break the promise. */
export const recheckMs = 30_000;
const cacheSize = 10_000;
/** Longer headers are refused unread, which bounds the cache in bytes too; ours are under 600 characters. */
const maxAuthorizationLength = 4096;

export function openAuthenticator(deps: AuthenticatorDeps): Authenticator {
  const { clock } = deps;
  const cache = openCredentialCache(cacheSize);
  const underWay = new Map<string, Promise<Principal>>();
  let forgotten = 0;

  function authenticate(authorization: string | undefined): Principal | Promise<Principal> {
    if (!authorization) throw missingCredential();
    const believed = cache.get(authorization);
    if (believed !== undefined) {
      const nowMs = clock.now();
      if (nowMs < believed.expiresAtMs && nowMs - believed.checkedAtMs < recheckMs) return believed.principal;
    }
    return underWay.get(authorization) ?? startCheck(authorization);
  }

  function startCheck(authorization: string): Promise<Principal> {
    const check = checkAndKeep(authorization).finally(() => {
      if (underWay.get(authorization) === check) underWay.delete(authorization);
    });
    underWay.set(authorization, check);
    return check;
  }

  async function checkAndKeep(authorization: string): Promise<Principal> {
    const forgottenBefore = forgotten;
    try {
      const believed = await checkCredential(deps, authorization);
      // What was read before a change must not outlive the `forget` that followed the change.
      if (forgotten === forgottenBefore) cache.set(authorization, believed);
      return believed.principal;
    } catch (error) {
      if (error instanceof RequestError) cache.delete(authorization);
      throw error;
    }
  }

  function forget(id: string): void {
    forgotten += 1;
    underWay.clear();
    cache.deleteWhere(({ sessionId, userId, callerId }) => sessionId === id || userId === id || callerId === id);
  }

  return { authenticate, forget };
}

async function checkCredential(deps: AuthenticatorDeps, authorization: string): Promise<Believed> {
  const token = /^Bearer +([\w.~+/=-]+)$/i.exec(authorization)?.[1];
  if (token === undefined || authorization.length > maxAuthorizationLength) throw invalidToken();
  return token.startsWith(apiKeyPrefix) ? checkApiKey(deps, token) : checkAccessToken(deps, token);
}

async function checkAccessToken({ db, clock, tokens }: AuthenticatorDeps, token: string): Promise<Believed> {
  const { userId, sessionId, expiresAtMs } = await tokens.verify(token);
  const checkedAtMs = clock.now();
  const live = await findLiveSession(db, sessionId, userId);
  if (live === null) throw endedSession();
  if (expiresAtMs <= clock.now()) throw expiredToken();
  const principal: Principal = {
    kind: "user",
    callerId: userId,
    workspaceId: live.workspace_id,
    role: live.role,
    userId,
    participantId: userId,
    sessionId,
    scopes: ["*"],
    rateLimit: null,
    origin: noOrigin,
  };
  return { principal, checkedAtMs, expiresAtMs };
}

async function checkApiKey({ db, clock }: AuthenticatorDeps, key: string): Promise<Believed> {
  const checkedAtMs = clock.now();
  const found = await useApiKey(db, hashToken(key), new Date(checkedAtMs));
  if (found === null) throw invalidApiKey();
  const principal: Principal = {
    kind: "api_key",
    callerId: found.api_key_id,
    workspaceId: found.workspace_id,
    role: found.role,
    userId: found.user_id,
    participantId: hasRole(found, "agent") ? found.workspace_id : found.user_id,
    sessionId: null,
    scopes: found.scopes,
    rateLimit: null,
    origin: noOrigin,
  };
  return { principal, checkedAtMs, expiresAtMs: found.expires_at?.getTime() ?? Number.POSITIVE_INFINITY };
}

function findLiveSession(db: Db, sessionId: string, userId: string) {
  return maybe<{ workspace_id: string; role: Role }>(
    db,
    `SELECT u.workspace_id, u.role
       FROM sessions s JOIN users u USING (user_id)
      WHERE s.session_id = $1 AND s.user_id = $2 AND s.revoked_at IS NULL AND u.disabled_at IS NULL`,
    [sessionId, userId],
  );
}

function missingCredential(): RequestError {
  return new RequestError("AUTH_REQUIRED", "Send `Authorization: Bearer <access token or API key>`.");
}

function endedSession(): RequestError {
  return new RequestError("AUTH_INVALID", "This session has ended: log in again with POST /auth/token.");
}
