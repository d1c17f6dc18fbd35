import type { IdentityDb } from "../database-roles.ts";
import { RequestError } from "../errors.ts";
import type { Clock } from "../lib/clock.ts";
import { apiKeyPrefix, type LiveApiKey } from "./api-keys.ts";
import { type CachedCredential, openCredentialCache } from "./credential-cache.ts";
import { type LiveCredentials, openLiveCredentials } from "./live-credentials.ts";
import { dependsOn, type Forget, hasRole, type KeyRateLimit, noOrigin, type Principal } from "./principal.ts";
import { endedSession, expiredToken, hashToken, invalidApiKey, invalidToken, type Tokens } from "./tokens.ts";

/**
 * Who is calling: on the hot path of every request. A credential that was checked within `recheckMs` is served from
 * memory, synchronously. Otherwise the signature is verified, and the database is asked whether session and user are
 * active and which role the user has, in one statement for all concurrent checks.
 *
 * A logout, a disabled user or a changed role takes effect at once in the process that made the change (which calls
 * `forget`), and within `recheckMs` in every other.
 */
export interface Authenticator extends Forget {
  /** Throws or rejects with AUTH_REQUIRED, AUTH_INVALID, AUTH_EXPIRED, API_KEY_INVALID, or OVERLOADED. */
  authenticate(authorization: string | undefined): Principal | Promise<Principal>;
  /** As `authenticate`, but always asks the database. Keeps open sockets cached for when all of them reconnect. */
  recheck(authorization: string): Promise<Principal>;
}

interface AuthenticatorDeps {
  db: IdentityDb;
  clock: Clock;
  tokens: Tokens;
}

type CheckDeps = AuthenticatorDeps & { live: LiveCredentials };

/** How long a credential is accepted after its last check. The API and SECURITY.md promise this time. */
export const recheckMs = 30_000;
/** Half of it exceeds the sockets of one process: all can reconnect without a signature to verify. */
const cacheSize = 30_000;
/** Longer headers are rejected unread, which bounds the cache in bytes too; ours have under 600 characters. */
const maxAuthorizationLength = 4096;

export function openAuthenticator(deps: AuthenticatorDeps): Authenticator {
  const { clock } = deps;
  const cache = openCredentialCache(cacheSize);
  const live = openLiveCredentials(deps);
  const underWay = new Map<string, Promise<Principal>>();
  let forgotten = 0;

  function authenticate(authorization: string | undefined): Principal | Promise<Principal> {
    if (!authorization) throw missingCredential();
    const cached = cache.get(authorization);
    if (cached !== undefined) {
      const nowMs = clock.elapsed();
      if (nowMs < cached.expiresAtMs && nowMs - cached.checkedAtMs < recheckMs) return cached.principal;
    }
    return underWay.get(authorization) ?? startCheck(authorization, cached);
  }

  async function recheck(authorization: string): Promise<Principal> {
    return underWay.get(authorization) ?? startCheck(authorization, cache.get(authorization));
  }

  function startCheck(authorization: string, earlier: CachedCredential | undefined): Promise<Principal> {
    const check = checkAndKeep(authorization, earlier).finally(() => {
      if (underWay.get(authorization) === check) underWay.delete(authorization);
    });
    underWay.set(authorization, check);
    return check;
  }

  async function checkAndKeep(authorization: string, earlier: CachedCredential | undefined): Promise<Principal> {
    const forgottenBefore = forgotten;
    try {
      const cached = await checkCredential({ ...deps, live }, authorization, earlier);
      // A check that started before a change must not be cached after the `forget` of that change.
      if (forgotten === forgottenBefore) cache.set(authorization, cached);
      return cached.principal;
    } catch (error) {
      if (error instanceof RequestError) cache.delete(authorization);
      throw error;
    }
  }

  function forget(id: string): void {
    forgotten += 1;
    underWay.clear();
    cache.deleteWhere((principal) => dependsOn(principal, id));
  }

  return { authenticate, recheck, forget };
}

async function checkCredential(deps: CheckDeps, authorization: string, earlier: CachedCredential | undefined) {
  const token = /^Bearer +([\w.~+/=-]+)$/i.exec(authorization)?.[1];
  if (token === undefined || authorization.length > maxAuthorizationLength) throw invalidToken();
  return token.startsWith(apiKeyPrefix) ? checkApiKey(deps, token) : checkAccessToken(deps, token, earlier);
}

/** Verifies a signature once, and measures the remaining time monotonically, so that clock changes do not matter. */
async function checkAccessToken({ live, clock, tokens }: CheckDeps, token: string, earlier?: CachedCredential) {
  const claims = earlier?.claims ?? (await tokens.verify(token));
  const { userId, sessionId, workspaceId } = claims;
  const expiresAtMs = earlier?.expiresAtMs ?? endOf(clock, claims.expiresAtMs);
  const checkedAtMs = clock.elapsed();
  if (expiresAtMs <= checkedAtMs) throw expiredToken();
  const session = await live.session(sessionId, userId);
  if (session === null || session.workspaceId !== workspaceId) throw endedSession();
  if (expiresAtMs <= clock.elapsed()) throw expiredToken();
  const principal: Principal = {
    kind: "user",
    callerId: userId,
    workspaceId,
    role: session.role,
    userId,
    participantId: userId,
    sessionId,
    scopes: ["*"],
    rateLimit: null,
    origin: noOrigin,
  };
  return { principal, checkedAtMs, expiresAtMs, claims };
}

async function checkApiKey({ live, clock }: CheckDeps, key: string): Promise<CachedCredential> {
  const checkedAtMs = clock.elapsed();
  const found = await live.apiKey(hashToken(key));
  if (found === null) throw invalidApiKey();
  const { apiKeyId, workspaceId, userId, role, scopes, expiresAt } = found;
  const principal: Principal = {
    kind: "api_key",
    callerId: apiKeyId,
    workspaceId,
    role,
    userId,
    participantId: hasRole(found, "agent") ? workspaceId : userId,
    sessionId: null,
    scopes,
    rateLimit: limitOf(found),
    ancestors: found.ancestors.map((key) => ({ apiKeyId: key.apiKeyId, rateLimit: limitOf(key) })),
    origin: noOrigin,
  };
  const expiresAtMs = endOf(clock, expiresAt?.getTime() ?? Number.POSITIVE_INFINITY);
  return { principal, checkedAtMs, expiresAtMs, claims: undefined };
}

function endOf(clock: Clock, momentMs: number): number {
  return clock.elapsed() + momentMs - clock.now();
}

function limitOf({ ratePerSecond, rateBurst }: Pick<LiveApiKey, "ratePerSecond" | "rateBurst">): KeyRateLimit | null {
  return ratePerSecond === null || rateBurst === null ? null : { perSecond: ratePerSecond, burst: rateBurst };
}

function missingCredential(): RequestError {
  return new RequestError("AUTH_REQUIRED", "Send `Authorization: Bearer <access token or API key>`.");
}
