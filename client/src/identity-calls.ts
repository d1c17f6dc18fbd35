import { bodyOf, type Call, page } from "./call.ts";
import type * as identity from "./identity-resources.ts";
import type * as resource from "./resources.ts";

export function authCalls(call: Call, end: () => Promise<void>) {
  type Registered = resource.Tokens & { user: resource.User };
  return {
    register: (body: { username: string; email: string; password: string }) =>
      bodyOf<Registered>(call, "POST", "/auth/register", { body, isPublic: true }),
    /** `totp_code` for who has a second factor, or one of its recovery codes. */
    logIn: (body: { username: string; password: string; totp_code?: string }) =>
      bodyOf<resource.Tokens & { user_id: string }>(call, "POST", "/auth/token", { body, isPublic: true }),
    refresh: (refresh_token: string) =>
      bodyOf<resource.Tokens>(call, "POST", "/auth/refresh", { body: { refresh_token }, isPublic: true }),
    acceptInvitation: (body: { token: string; username: string; password: string; display_name?: string }) =>
      bodyOf<Registered>(call, "POST", "/auth/invitations/accept", { body, isPublic: true }),
    /** Where else people can log in. */
    providers: async () =>
      (await bodyOf<{ data: identity.LogInProvider[] }>(call, "GET", "/auth/providers", { isPublic: true })).data,
    /** The code with which a provider's log-in came back to a page. */
    exchange: (code: string) =>
      bodyOf<resource.Tokens & { user_id: string }>(call, "POST", "/auth/oauth/exchange", {
        body: { code },
        isPublic: true,
      }),
    /** Answers the same whether or not somebody has this address. */
    forgotPassword: (email: string) =>
      bodyOf<null>(call, "POST", "/auth/password/forgot", { body: { email }, isPublic: true }),
    resetPassword: (body: { token: string; new_password: string } & identity.Ending) =>
      bodyOf<null>(call, "POST", "/auth/password/reset", { body, isPublic: true }),
    /** Ends the session that this client opened. */
    logOut: end,
    me: () => bodyOf<resource.Me>(call, "GET", "/v1/me"),
    /** Ends all sessions of the caller, including this one, and the API keys made since a time, if it is given. */
    logOutEverywhere: (body: { revoke_api_keys_since?: string | null } = {}) =>
      bodyOf<null>(call, "POST", "/auth/logout-everywhere", { body }),
    /**
     * Ends the caller's other sessions and newer API keys, unless told otherwise. A user with a password gives
     * `current_password`.
     */
    changePassword: (body: { current_password?: string; new_password: string } & identity.Ending) =>
      bodyOf<null>(call, "POST", "/v1/me/password", { body }),
    secondFactor: {
      begin: () => bodyOf<identity.NewSecondFactor>(call, "POST", "/v1/me/totp"),
      /** From now on log-ins ask for codes. The recovery codes are shown this once. */
      confirm: (code: string) =>
        bodyOf<{ recovery_codes: string[] }>(call, "POST", "/v1/me/totp/confirm", { body: { code } }),
      remove: (code: string) => bodyOf<null>(call, "DELETE", "/v1/me/totp", { body: { code } }),
    },
  };
}

export function userCalls(call: Call) {
  const path = "/v1/users";
  type NewUser = {
    username: string;
    email: string;
    password: string;
    role: resource.Role;
    display_name?: string;
  };
  return {
    create: (body: NewUser) => bodyOf<resource.User>(call, "POST", path, { body }),
    list: (query?: resource.PageQuery) => page<resource.User>(call, path, query),
    get: (id: string) => bodyOf<resource.User>(call, "GET", `${path}/${id}`),
    change: (id: string, body: { role?: resource.Role; display_name?: string; disabled?: boolean }) =>
      bodyOf<resource.User>(call, "PATCH", `${path}/${id}`, { body }),
    /** Admins add it at once. A user's own address needs the code that is sent to it. */
    addAddress: (id: string, address: string) =>
      bodyOf<identity.UserAddresses | identity.AddressVerification>(call, "POST", `${path}/${id}/addresses`, {
        body: { address },
      }),
    /** Takes the code that was sent to the address. */
    verifyAddress: (id: string, body: { verification_id: string; code: string }) =>
      bodyOf<identity.UserAddresses>(call, "POST", `${path}/${id}/addresses/verify`, { body }),
    /** A link by which the user sets a new password. */
    resetPassword: (id: string) =>
      bodyOf<identity.OneTimeLink & { expires_at: string }>(call, "POST", `${path}/${id}/password-reset`),
    /** For who has lost it. */
    removeSecondFactor: (id: string) => bodyOf<null>(call, "DELETE", `${path}/${id}/totp`),
  };
}

export function apiKeyCalls(call: Call) {
  const path = "/v1/api-keys";
  return {
    /** `key` is shown this once. `scopes: ["*"]` is a key for everything that the caller may do. */
    create: (body: {
      name: string;
      scopes: string[];
      expires_at?: string | null;
      rate_limit?: resource.RateLimit | null;
    }) => bodyOf<resource.ApiKey & { key: string }>(call, "POST", path, { body }),
    list: (query?: resource.PageQuery) => page<resource.ApiKey>(call, path, query),
    revoke: (id: string) => bodyOf<null>(call, "DELETE", `${path}/${id}`),
  };
}

export function workspaceCalls(call: Call) {
  const path = "/v1/workspaces";
  type NewWorkspace = { name: string; admin: { username: string; email: string; password: string } };
  return {
    create: (body: NewWorkspace) => bodyOf<resource.Workspace>(call, "POST", path, { body }),
    list: (query?: resource.PageQuery) => page<resource.Workspace>(call, path, query),
  };
}

export function invitationCalls(call: Call) {
  const path = "/v1/invitations";
  return {
    /** `expires_in` in seconds. */
    create: (body: { email: string; role: resource.Role; expires_in?: number }) =>
      bodyOf<identity.Invitation & identity.OneTimeLink>(call, "POST", path, { body }),
    list: (query?: resource.PageQuery) => page<identity.Invitation>(call, path, query),
    revoke: (id: string) => bodyOf<null>(call, "DELETE", `${path}/${id}`),
  };
}

export function auditLogCalls(call: Call) {
  const path = "/v1/audit-log";
  return {
    /** Newest first. */
    list: (query?: resource.PageQuery & identity.AuditQuery) => page<identity.AuditRecord>(call, path, query),
  };
}
