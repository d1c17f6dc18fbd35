import { createHash, randomBytes, randomUUID } from "node:crypto";
import type { JWTHeaderParameters } from "jose";
import { JOSEError, JWTExpired } from "jose/errors";
import { SignJWT } from "jose/jwt/sign";
import { jwtVerify } from "jose/jwt/verify";
import { RequestError } from "../errors.ts";
import type { Clock } from "../lib/clock.ts";
import {
  type AccessClaims,
  audience,
  clockToleranceSeconds,
  issuer,
  readClaims,
  type VerifiedClaims,
} from "./access-claims.ts";
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
