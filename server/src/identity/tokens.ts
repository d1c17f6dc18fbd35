import { createHash, createSecretKey, randomBytes, randomUUID } from "node:crypto";
import { errors, jwtVerify, SignJWT } from "jose";
import { RequestError } from "../errors.ts";
import type { Clock } from "../lib/clock.ts";
import type { Secret } from "../lib/secret.ts";
import type { Role } from "./principal.ts";

/** What an access token says. Role and workspace are as they were when it was made; the database has the last word. */
export interface AccessClaims {
  userId: string;
  sessionId: string;
  workspaceId: string;
  role: Role;
}

export interface Tokens {
  readonly accessTokenTtlMs: number;
  readonly refreshTokenTtlMs: number;
  /** A signed access token that works for `accessTokenTtlMs`. */
  issue(claims: AccessClaims): Promise<string>;
  /** Believes a token that this hub signed. Throws AUTH_EXPIRED, and AUTH_INVALID for everything else. */
  verify(token: string): Promise<AccessClaims & { expiresAtMs: number }>;
}

export interface TokensOptions {
  clock: Clock;
  /** The same in every process of a hub. */
  secret: Secret;
  accessTokenTtlMs: number;
  refreshTokenTtlMs: number;
}

const issuer = "chat4all";
const audience = "chat4all";
const algorithm = "HS256";

/** How far the clocks of two processes may differ, so that a token made by one is not "not yet valid" for the other. */
const clockToleranceSeconds = 5;

export function openTokens({ clock, secret, accessTokenTtlMs, refreshTokenTtlMs }: TokensOptions): Tokens {
  const key = createSecretKey(secret.reveal(), "utf8");
  // Names the key without telling it, so that a later one can stand beside it.
  const kid = createHash("sha256").update(`kid:${secret.reveal()}`).digest("base64url").slice(0, 8);
  return {
    accessTokenTtlMs,
    refreshTokenTtlMs,

    issue({ userId, sessionId, workspaceId, role }) {
      const nowMs = clock.now();
      return new SignJWT({ sid: sessionId, wid: workspaceId, role })
        .setProtectedHeader({ alg: algorithm, typ: "JWT", kid })
        .setIssuer(issuer)
        .setAudience(audience)
        .setSubject(userId)
        .setJti(randomUUID())
        .setIssuedAt(Math.floor(nowMs / 1000))
        .setNotBefore(Math.floor(nowMs / 1000))
        .setExpirationTime(Math.floor((nowMs + accessTokenTtlMs) / 1000))
        .sign(key);
    },

    async verify(token) {
      const nowMs = clock.now();
      const { payload, protectedHeader } = await jwtVerify(token, key, {
        algorithms: [algorithm],
        issuer,
        audience,
        requiredClaims: ["sub", "sid", "wid", "role", "exp", "jti"],
        clockTolerance: clockToleranceSeconds,
        currentDate: new Date(nowMs),
      }).catch(refuse);
      const expiresAtMs = payload.exp! * 1000;
      if (expiresAtMs <= nowMs) throw expiredToken();
      if (protectedHeader.kid !== kid) throw invalidToken();
      const { sub, sid, wid, role } = payload;
      return { userId: sub, sessionId: sid, workspaceId: wid, role, expiresAtMs } as AccessClaims & {
        expiresAtMs: number;
      };
    },
  };
}

function refuse(error: unknown): never {
  if (error instanceof errors.JWTExpired) throw expiredToken();
  if (error instanceof errors.JOSEError) throw invalidToken(error);
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
