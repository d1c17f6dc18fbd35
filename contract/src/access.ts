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
  "workspaces:read",
  "workspaces:write",
] as const;
export type Scope = (typeof scopes)[number];
