import { type Role, roles } from "../../../contract/src/access.ts";

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
export const issuer = "chat4all";
export const audience = "chat4all";

/** How far the clocks of two processes may differ, so that a token made by one is not "not yet valid" for the other. */
export const clockToleranceSeconds = 5;

/** No access token lives longer, whatever ACCESS_TOKEN_TTL says. */
export const maxAccessTokenTtlMs = 86_400_000;

/**
 * The claims of a token whose signature, issuer, audience and times were checked, held against what this hub writes: it
 * writes each claim once, in one form. Null for anything else, however well it is signed.
 */
export function readClaims(payload: Record<string, unknown>, nowMs: number): VerifiedClaims | null {
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
