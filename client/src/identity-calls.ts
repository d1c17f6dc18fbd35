import type * as api from "../../contract/openapi.ts";
import { bodyOf, type Call, type PageQuery, page, type Query } from "./call.ts";

export function authCalls(call: Call, end: () => Promise<void>) {
  return {
    register: (body: api.Registration) =>
      bodyOf<api.LoggedInUser>(call, "POST", "/auth/register", { body, isPublic: true }),
    /** With a second factor, `totp_code` is its code or a recovery code. */
    logIn: (body: api.LogIn) => bodyOf<api.UserTokens>(call, "POST", "/auth/token", { body, isPublic: true }),
    refresh: (refresh_token: string) =>
      bodyOf<api.Tokens>(call, "POST", "/auth/refresh", { body: { refresh_token }, isPublic: true }),
    acceptInvitation: (body: api.InvitationAcceptance) =>
      bodyOf<api.LoggedInUser>(call, "POST", "/auth/invitations/accept", { body, isPublic: true }),
    providers: async () => (await bodyOf<api.LogInProviders>(call, "GET", "/auth/providers", { isPublic: true })).data,
    /** Takes the code with which a provider's login returned to a page. */
    exchange: (code: string) =>
      bodyOf<api.UserTokens>(call, "POST", "/auth/oauth/exchange", {
        body: { code },
        isPublic: true,
      }),
    /** The response is the same for an unknown email address. */
    forgotPassword: (email: string) =>
      bodyOf<null>(call, "POST", "/auth/password/forgot", { body: { email }, isPublic: true }),
    resetPassword: (body: api.PasswordReset) =>
      bodyOf<null>(call, "POST", "/auth/password/reset", { body, isPublic: true }),
    logOut: end,
    me: () => bodyOf<api.Me>(call, "GET", "/v1/me"),
    /** Ends all sessions of the caller, including this one, and the API keys made since a time, if it is given. */
    logOutEverywhere: (body: api.LogOutEverywhere = {}) =>
      bodyOf<null>(call, "POST", "/auth/logout-everywhere", { body }),
    /**
     * Ends the caller's other sessions and newer API keys by default. A user with a password gives `current_password`.
     */
    changePassword: (body: api.PasswordChange) => bodyOf<null>(call, "POST", "/v1/me/password", { body }),
    secondFactor: {
      begin: () => bodyOf<api.TotpSecret>(call, "POST", "/v1/me/totp"),
      /** From now on logins ask for codes. The recovery codes are shown this once. */
      confirm: (code: string) => bodyOf<api.RecoveryCodes>(call, "POST", "/v1/me/totp/confirm", { body: { code } }),
      remove: (code: string) => bodyOf<null>(call, "DELETE", "/v1/me/totp", { body: { code } }),
    },
  };
}

export function userCalls(call: Call) {
  const path = "/v1/users";
  return {
    create: (body: api.NewUser) => bodyOf<api.User>(call, "POST", path, { body }),
    list: (query?: Query<"listUsers">) => page<api.User>(call, path, query),
    get: (id: string) => bodyOf<api.UserDetails>(call, "GET", `${path}/${id}`),
    change: (id: string, body: api.UserChange) => bodyOf<api.User>(call, "PATCH", `${path}/${id}`, { body }),
    /** Admins add it at once. A user's own address needs the code that is sent to it. */
    addAddress: (id: string, address: string) =>
      bodyOf<api.UserAddresses | api.AddressVerification>(call, "POST", `${path}/${id}/addresses`, {
        body: { address },
      }),
    verifyAddress: (id: string, body: api.VerificationCode) =>
      bodyOf<api.UserAddresses>(call, "POST", `${path}/${id}/addresses/verify`, { body }),
    /** A link by which the user sets a new password. */
    resetPassword: (id: string) => bodyOf<api.CreatedPasswordReset>(call, "POST", `${path}/${id}/password-reset`),
    removeSecondFactor: (id: string) => bodyOf<null>(call, "DELETE", `${path}/${id}/totp`),
  };
}

export function apiKeyCalls(call: Call) {
  const path = "/v1/api-keys";
  return {
    /** `key` is shown this once. `scopes: ["*"]` is a key for everything that the caller may do. */
    create: (body: api.NewApiKey) => bodyOf<api.CreatedApiKey>(call, "POST", path, { body }),
    list: (query?: PageQuery) => page<api.ApiKey>(call, path, query),
    revoke: (id: string) => bodyOf<null>(call, "DELETE", `${path}/${id}`),
  };
}

export function workspaceCalls(call: Call) {
  const path = "/v1/workspaces";
  return {
    create: (body: api.NewWorkspace) => bodyOf<api.Workspace>(call, "POST", path, { body }),
    list: (query?: PageQuery) => page<api.Workspace>(call, path, query),
  };
}

export function invitationCalls(call: Call) {
  const path = "/v1/invitations";
  return {
    /** `expires_in` in seconds. */
    create: (body: api.NewInvitation) => bodyOf<api.CreatedInvitation>(call, "POST", path, { body }),
    list: (query?: PageQuery) => page<api.Invitation>(call, path, query),
    revoke: (id: string) => bodyOf<null>(call, "DELETE", `${path}/${id}`),
  };
}

export function auditLogCalls(call: Call) {
  const path = "/v1/audit-log";
  return {
    /** Newest first. */
    list: (query?: Query<"listAuditRecords">) => page<api.AuditRecord>(call, path, query),
  };
}
