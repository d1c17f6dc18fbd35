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
  /** With them others can verify access tokens without a request; none for a shared secret. */
  readonly publicKeys: readonly PublicJwk[];
  issue(claims: AccessClaims): Promise<string>;
  /** Accepts a token that this hub signed. Throws AUTH_EXPIRED, and AUTH_INVALID for everything else. */
  verify(token: string): Promise<VerifiedClaims>;
}

interface TokensOptions {
  clock: Clock;
  keys: SigningKeys;
  /** At most `maxAccessTokenTtlMs`. */
  accessTokenTtlMs: number;
  refreshTokenTtlMs: number;
}

/**
 * Access tokens are JWTs with one algorithm, one type and a `kid` that names one of our keys; any other header
 * parameter (`jwk`, `jku`, `x5c`, `crit` …) is refused. Nothing is stored or revoked by the text of a token, so it does
 * not matter that base64url and JSON have several spellings.
 */
export function openTokens({ clock, keys, accessTokenTtlMs, refreshTokenTtlMs }: TokensOptions): Tokens {
  const header: JWTHeaderParameters = { alg: keys.algorithm, typ: "JWT", kid: keys.signer.kid };

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

/** 256 random bits. The prefix names the kind, for people and secret scanners. */
export function newOpaqueToken(prefix: string): string {
  return prefix + randomBytes(32).toString("base64url");
}

/** A plain hash is enough for 256 random bits. */
export function hashToken(token: string): Buffer {
  return createHash("sha256").update(token).digest();
}

/** Role and workspace are those at the time of issue; the database decides. */
export interface AccessClaims {
  userId: string;
  sessionId: string;
  workspaceId: string;
  role: Role;
}

export interface VerifiedClaims extends AccessClaims {
  expiresAtMs: number;
}

const issuer = "chat4all";
const audience = "chat4all";

/** How far the clocks of two processes may differ, so that a token from one is not "not yet valid" for the other. */
const clockToleranceSeconds = 5;

/** Bounds ACCESS_TOKEN_TTL. */
const maxAccessTokenTtlMs = 86_400_000;

/** Of verified claims. Null unless they have the form that this hub writes. */
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
  return new RequestError("API_KEY_INVALID", "This API key is unknown, revoked or expired: create a new one.");
}
