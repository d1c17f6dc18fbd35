/**
 * From least to most: a member sees the conversations it is in, an agent all of its workspace, an admin may do
 * everything.
 */
export const roles = ["member", "agent", "admin"] as const;
export type Role = (typeof roles)[number];

/** What an API key may be limited to. `*` is all of them. */
export const scopes = [
  "messages:read",
  "messages:write",
  "conversations:read",
  "conversations:write",
  "files:read",
  "files:write",
  "tasks:read",
  "tasks:write",
  "contacts:read",
  "contacts:write",
  "users:read",
  "users:write",
  "channel-accounts:read",
  "channel-accounts:write",
  "api-keys:read",
  "api-keys:write",
  "events:read",
  "webhook-endpoints:read",
  "webhook-endpoints:write",
  "audit-log:read",
  "stats:read",
  "workspaces:read",
  "workspaces:write",
] as const;
export type Scope = (typeof scopes)[number];

/**
 * Who may call an operation: anyone, or a caller with at least this role whose API key has all of these scopes.
 * `session`: only a user who logged in.
 */
export type Access = "public" | { role: Role; scope?: Scope | readonly Scope[]; session?: true };

/** The scope without which an API key sees of the response only ids and what it sent; null for an operation that reads. */
export function readScopeOf(access: Access): Scope | null {
  if (access === "public") return null;
  const written = [access.scope ?? []].flat().find((scope) => scope.endsWith(":write"));
  return scopes.find((scope) => scope === written?.replace(":write", ":read")) ?? null;
}
