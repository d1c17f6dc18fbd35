import { Type } from "typebox";
import { operations } from "./operation.ts";
import { closed, named } from "./schemas.ts";

const code = Type.String({
  minLength: 6,
  maxLength: 30,
  description: "Six digits from the authenticator app, or a recovery code.",
});

const TotpCode = named("TotpCode", Type.Object({ code }, closed), { code: "123456" });

const TotpSecret = named("TotpSecret", Type.Object({ secret: Type.String(), otpauth_url: Type.String() }));

const RecoveryCodes = named("RecoveryCodes", Type.Object({ recovery_codes: Type.Array(Type.String()) }));

const access = { role: "member", session: true } as const;

/** A second factor besides the password, by an authenticator app. */
export const totp = operations("Current user", {
  createTotp: {
    method: "POST",
    path: "/v1/me/totp",
    summary: "Create a second factor",
    description:
      "Put the secret into an authenticator app and confirm one of its codes: until then the factor has no effect. Another " +
      "call returns another secret. Login through a provider does not ask for the factor. Not for API keys.",
    access,
    idempotent: true,
    answers: { 201: TotpSecret },
  },
  confirmTotp: {
    method: "POST",
    path: "/v1/me/totp/confirm",
    summary: "Confirm the second factor",
    description:
      "From then on login with a password needs a code. Each recovery code replaces a code once: store them in a safe place.",
    access,
    body: TotpCode,
    answers: { 200: RecoveryCodes },
    errors: [409],
  },
  removeTotp: {
    method: "DELETE",
    path: "/v1/me/totp",
    summary: "Remove the second factor of the current user",
    access,
    body: TotpCode,
    answers: { 204: null },
    errors: [404],
  },
});

export const userTotp = operations("Users", {
  removeUserTotp: {
    method: "DELETE",
    path: "/v1/users/{id}/totp",
    summary: "Remove the second factor of a user",
    description: "For a user who lost both the authenticator app and the recovery codes.",
    access: { role: "admin", scope: "users:write" },
    answers: { 204: null },
  },
});
