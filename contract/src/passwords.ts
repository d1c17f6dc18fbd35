import { Type } from "typebox";
import { revokeApiKeysSince } from "./auth.ts";
import { operations } from "./operation.ts";
import { closed, named, time } from "./schemas.ts";
import { email, newPassword } from "./users.ts";

function endingFields(otherwise: string) {
  return {
    revoke_sessions: Type.Optional(
      Type.Boolean({
        default: true,
        description: "Whether the other sessions end, because another person may have known the old password.",
      }),
    ),
    revoke_api_keys_since: revokeApiKeysSince(`${otherwise}. Null: none`),
  };
}

const PasswordChange = named(
  "PasswordChange",
  Type.Object(
    {
      current_password: Type.Optional(Type.String({ minLength: 1, maxLength: 256 })),
      new_password: newPassword,
      ...endingFields("since the last time that all of them were revoked"),
    },
    closed,
  ),
  { current_password: "correct horse battery staple", new_password: "a new and longer password" },
);

const ForgottenPassword = named("ForgottenPassword", Type.Object({ email }, closed), { email: "ana@example.com" });

const PasswordReset = named(
  "PasswordReset",
  Type.Object(
    { token: Type.String({ minLength: 1, maxLength: 100 }), new_password: newPassword, ...endingFields("all") },
    closed,
  ),
  { token: "c4p_5rYbq2t8Zk1", new_password: "a new and longer password" },
);

const CreatedPasswordReset = named(
  "CreatedPasswordReset",
  Type.Object({ token: Type.String(), url: Type.String(), expires_at: time, mailed: Type.Boolean() }),
);

export const ownPassword = operations("Current user", {
  changePassword: {
    method: "POST",
    path: "/v1/me/password",
    summary: "Change the password of the current user",
    description:
      "Ends all other sessions of the user. Also revokes the API keys, invitations, password resets and webhook endpoints " +
      "that the user created since the last time that all of them were revoked, unless the body says otherwise. A user without a " +
      "password, who logs in through a provider, omits `current_password` and must have logged in within the last 10 minutes. " +
      "Not for API keys.",
    access: { role: "member", session: true },
    body: PasswordChange,
    answers: { 204: null },
    errors: [409],
  },
});

export const passwords = operations("Authentication", {
  requestPasswordReset: {
    method: "POST",
    path: "/auth/password/forgot",
    summary: "Request an email to reset a password",
    description:
      "The response is the same whether the user exists or not. With `SMTP_URL` set, the hub sends an email, at most one in 5 " +
      "minutes for each user. Without it nothing happens: an admin can create a password reset instead.",
    access: "public",
    body: ForgottenPassword,
    answers: { 202: null },
  },
  resetPassword: {
    method: "POST",
    path: "/auth/password/reset",
    summary: "Reset a password with a token",
    description:
      "Ends all sessions of the user, and revokes all API keys, invitations, password resets and webhook endpoints that the " +
      "user created, unless the body says otherwise. A second factor stays on.",
    access: "public",
    admission: "always",
    body: PasswordReset,
    answers: { 204: null },
    errors: [401],
  },
});

export const userPasswords = operations("Users", {
  createPasswordReset: {
    method: "POST",
    path: "/v1/users/{id}/password-reset",
    summary: "Create a password reset for a user",
    description:
      "Only this response shows the token. It works once, within an hour. With `SMTP_URL` set, the hub also emails it to the user. " +
      "The old password works until the new one is set.",
    access: { role: "admin", scope: "users:write" },
    idempotent: true,
    shows: "all",
    answers: { 201: CreatedPasswordReset },
  },
});
