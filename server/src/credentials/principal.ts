import { type Role, roles, type Scope } from "../../../contract/src/access.ts";
import type { Origin } from "../audit/audit.ts";
import { forbidden } from "../errors.ts";

export interface Principal {
  readonly kind: "user" | "api_key";
  /** The user or the API key. Idempotency keys and limits are counted by it. */
  readonly callerId: string;
  readonly workspaceId: string;
  readonly role: Role;
  /** The user itself; for an API key the user who created it. */
  readonly userId: string;
  /** The default sender of messages: the user; for the key of an agent or admin, the workspace. */
  readonly participantId: string;
  readonly sessionId: string | null;
  readonly scopes: readonly (Scope | "*")[];
  /** Null for users, and for a key without a limit. */
  readonly rateLimit: KeyRateLimit | null;
  /** It works while they do, and shares their limits. */
  readonly ancestors?: readonly AncestorKey[];
  readonly origin: Origin;
}

export interface KeyRateLimit {
  /** On average; may be a fraction. */
  readonly perSecond: number;
  readonly burst: number;
}

export function keyLimitsOf({ callerId, rateLimit, ancestors = [] }: Principal) {
  if (rateLimit === null && ancestors.length === 0) return [];
  return [...ancestors, { apiKeyId: callerId, rateLimit }].flatMap((key) =>
    key.rateLimit === null ? [] : [{ key: `key:${key.apiKeyId}`, limit: key.rateLimit }],
  );
}

interface AncestorKey {
  readonly apiKeyId: string;
  readonly rateLimit: KeyRateLimit | null;
}

/** Whether a change of the session, user or API key with this id may change what the caller may do. */
export function dependsOn(principal: Principal, id: string): boolean {
  const { sessionId, userId, callerId, ancestors = [] } = principal;
  return [sessionId, userId, callerId].includes(id) || ancestors.some(({ apiKeyId }) => apiKeyId === id);
}

export const noOrigin: Origin = { ip: null, requestId: null };

export function hasRole(principal: Pick<Principal, "role">, least: Role): boolean {
  return roles.indexOf(principal.role) >= roles.indexOf(least);
}

export type Viewer = Pick<Principal, "role" | "participantId">;

/** For events that are rendered once for all callers with a role. */
export const anyAgent: Viewer = { role: "agent", participantId: "" };
export const anyMember: Viewer = { role: "member", participantId: "" };

export function seesAllConversations(principal: Pick<Principal, "role">): boolean {
  return hasRole(principal, "agent");
}

/** Whether the caller may find people by address and write to anyone; a member only in its own conversations. */
export function reachesContacts(principal: Pick<Principal, "role">): boolean {
  return hasRole(principal, "agent");
}

export function seesAddressesOf(viewer: Viewer, participantId: string): boolean {
  return reachesContacts(viewer) || viewer.participantId === participantId;
}

export function requireRole(principal: Principal, least: Role): void {
  if (!hasRole(principal, least))
    throw forbidden(`This requires the role \`${least}\`; yours is \`${principal.role}\`.`);
}

/** The hub itself has no scopes, and may do everything. */
export type Scoped = { readonly scopes?: Principal["scopes"] };

/** FORBIDDEN when a key with limited scopes would create or change a user above member, and gain more through it. */
export function requireMayManageRole(by: Scoped, role: Role): void {
  if (role === "member" || hasScope(by, "*")) return;
  throw forbidden(
    `An API key with limited scopes cannot create or change a user with the role ${role}. Use a key with all scopes ("*"), or log in.`,
  );
}

export function hasScope({ scopes }: Scoped, scope: Scope | "*"): boolean {
  return scopes === undefined || scopes.includes("*") || scopes.includes(scope);
}

export function requireScope(principal: Scoped, ...needed: readonly Scope[]): void {
  for (const scope of needed) {
    if (!hasScope(principal, scope)) throw forbidden(`This API key lacks the scope ${scope}.`);
  }
}

export interface Forget {
  /** Takes the id of a session, user or API key that changed, after the commit. */
  forget(id: string): void;
}
