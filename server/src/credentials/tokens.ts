import { createHash, randomBytes, randomUUID } from "node:crypto";
import type { JWTHeaderParameters } from "jose";
import { JOSEError, JWTExpired } from "jose/errors";
import { SignJWT } from "jose/jwt/sign";
import { jwtVerify } from "jose/jwt/verify";
import { type Role, roles } from "../../../contract/src/access.ts";
import { RequestError } from "../errors.ts";
import type { Clock } from "../lib/clock.ts";
import type { PublicJwk, SigningKeys } from "./signing-keys.ts";

export interface Tokens {
  readonly accessTokenTtlMs: number;
  readonly refreshTokenTtlMs: number;
  /** By which others can check access tokens, without asking the hub; none for a shared secret. */
  readonly publicKeys: readonly PublicJwk[];
  /** A signed access token that works for `accessTokenTtlMs`. */
  issue(claims: AccessClaims): Promise<string>;
  /** Believes a token that this hub signed. Throws AUTH_EXPIRED, and AUTH_INVALID for everything else. */
  verify(token: string): Promise<VerifiedClaims>;
}

export interface TokensOptions {
  clock: Clock;
  /** The same in every process of a hub. */
  keys: SigningKeys;
  /** At most `maxAccessTokenTtlMs`. */
  accessTokenTtlMs: number;
  refreshTokenTtlMs: number;
}

/**
 * Access tokens are JWTs with one algorithm, one type and a `kid` that names one of our keys; all else that a header may
 * hold (`jwk`, `jku`, `x5c`, `crit` …) is refused. Nothing is stored or revoked by the text of a token, so it does not
 * matter that base64url and JSON can be written in more than one way.
 */
export function openTokens({ clock, keys, accessTokenTtlMs, refreshTokenTtlMs }: TokensOptions): Tokens {
  const header: JWTHeaderParameters = { alg: keys.algorithm, typ: "JWT", kid: keys.signer.kid };

  /** The key that the header names. */
  function keyOf({ alg, typ, kid, ...others }: Partial<JWTHeaderParameters>) {
    const key = typeof kid === "string" ? keys.verifiers.get(kid) : undefined;
    if (key === undefined || alg !== keys.algorithm || typ !== "JWT" || Object.keys(others).length > 0) {
      throw invalidToken();
    }
    return key;
  }

  return {
    accessTokenTtlMs,
    refreshTokenTtlMs,
    publicKeys: keys.publicKeys,

    issue({ userId, sessionId, workspaceId, role }) {
      const nowMs = clock.now();
      return new SignJWT({ sid: sessionId, wid: workspaceId, role })
        .setProtectedHeader(header)
        .setIssuer(issuer)
        .setAudience(audience)
        .setSubject(userId)
        .setJti(randomUUID())
        .setIssuedAt(Math.floor(nowMs / 1000))
        .setNotBefore(Math.floor(nowMs / 1000))
        .setExpirationTime(Math.floor((nowMs + accessTokenTtlMs) / 1000))
        .sign(keys.signer.key);
    },

    async verify(token) {
      if (!compact.test(token)) throw invalidToken();
      const nowMs = clock.now();
      const { payload } = await jwtVerify(token, keyOf, {
        algorithms: [keys.algorithm],
        typ: "JWT",
        issuer,
        audience,
        requiredClaims: ["sub", "sid", "wid", "role", "exp", "nbf", "iat", "jti"],
        clockTolerance: clockToleranceSeconds,
        currentDate: new Date(nowMs),
      }).catch(refuse);
      const claims = readClaims(payload, nowMs);
      if (claims === null) throw invalidToken();
      if (claims.expiresAtMs <= nowMs) throw expiredToken();
      return claims;
    },
  };
}

/** Three parts in base64url, without padding. */
const compact = /^[\w-]+\.[\w-]+\.[\w-]+$/;

function refuse(error: unknown): never {
  if (error instanceof JWTExpired) throw expiredToken();
  if (error instanceof JOSEError) throw invalidToken(error);
  throw error;
}

export function expiredToken(): RequestError {
  return new RequestError("AUTH_EXPIRED", "The access token has expired: get a new one from POST /auth/refresh.");
}

export function invalidToken(cause?: unknown): RequestError {
  const message = "The credential is not valid: send `Authorization: Bearer <access token or API key>`.";
  return new RequestError("AUTH_INVALID", message, { cause });
}

/** 256 random bits behind a prefix that says what it is (and lets secret scanners find it). */
export function newOpaqueToken(prefix: string): string {
  return prefix + randomBytes(32).toString("base64url");
}

/** How opaque tokens are stored: of 256 random bits a plain hash tells nothing, so a slow one would only cost. */
export function hashToken(token: string): Buffer {
  return createHash("sha256").update(token).digest();
}

/** What an access token says. Role and workspace are as they were when it was made; the database has the last word. */
export interface AccessClaims {
  userId: string;
  sessionId: string;
  workspaceId: string;
  role: Role;
}

/** Claims of a token that was found to be ours. */
export interface VerifiedClaims extends AccessClaims {
  expiresAtMs: number;
}

/** Who makes access tokens and for whom: the hub itself, wherever it is reached. */
const issuer = "chat4all";
const audience = "chat4all";

/** How far the clocks of two processes may differ, so that a token made by one is not "not yet valid" for the other. */
const clockToleranceSeconds = 5;

/** No access token lives longer, whatever ACCESS_TOKEN_TTL says. */
const maxAccessTokenTtlMs = 86_400_000;

/**
 * The claims of a token whose signature, issuer, audience and times were checked, held against what this hub writes: it
 * writes each claim once, in one form. Null for anything else, however well it is signed.
 */
function readClaims(payload: Record<string, unknown>, nowMs: number): VerifiedClaims | null {
  const { iss, aud, sub, sid, wid, role, jti, iat, nbf, exp } = payload;
  if (iss !== issuer || aud !== audience) return null;
  if (!isUuid(sub) || !isUuid(sid) || !isUuid(wid) || !isUuid(jti) || !isRole(role)) return null;
  if (!isSecond(iat) || !isSecond(nbf) || !isSecond(exp)) return null;
  const latest = nowMs / 1000 + clockToleranceSeconds;
  if (iat > latest || exp <= iat || (exp - iat) * 1000 > maxAccessTokenTtlMs) return null;
  return { userId: sub, sessionId: sid, workspaceId: wid, role, expiresAtMs: exp * 1000 };
}

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

function isUuid(value: unknown): value is string {
  return typeof value === "string" && uuid.test(value);
}

function isRole(value: unknown): value is Role {
  return roles.some((role) => role === value);
}

function isSecond(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

export function endedSession(): RequestError {
  return new RequestError("AUTH_INVALID", "This session has ended: log in again with POST /auth/token.");
}

export function invalidApiKey(): RequestError {
  return new RequestError("API_KEY_INVALID", "This API key is unknown, revoked or expired: make a new one.");
}
