import { Type } from "typebox";
import { operations } from "./operation.ts";
import { closed, named, nullable, uuid } from "./schemas.ts";
import { credentialFields, User } from "./users.ts";

const tokenFields = {
  access_token: Type.String(),
  refresh_token: Type.String(),
  token_type: Type.Literal("Bearer"),
  expires_in: Type.Integer({ description: "Seconds until the access token expires." }),
};

const tokens = {
  access_token: "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIwMTkyZjVjNCJ9.3q2-7w",
  refresh_token: "c4r_5rYbq2t8Zk1",
  token_type: "Bearer",
  expires_in: 900,
} as const;

const Tokens = named("Tokens", Type.Object(tokenFields), tokens);

export const UserTokens = named(
  "UserTokens",
  Type.Object({ ...tokenFields, user_id: uuid }, { description: "Tokens of the user." }),
  {
    ...tokens,
    user_id: "0192f5c4-7d1e-7b3a-9c55-0a8e4f1d2b3c",
  },
);

export const LoggedInUser = named(
  "LoggedInUser",
  Type.Object({ user: User, ...tokenFields }, { description: "The new user, with tokens." }),
);

const Registration = named("Registration", Type.Object(credentialFields, closed), {
  username: "ana",
  email: "ana@example.com",
  password: "correct horse battery staple",
});

const LogIn = named(
  "LogIn",
  Type.Object(
    {
      username: Type.String({ minLength: 1, maxLength: 256 }),
      password: Type.String({ minLength: 1, maxLength: 256 }),
      totp_code: Type.Optional(
        Type.String({
          minLength: 1,
          maxLength: 64,
          description:
            "Required for a user with a second factor: a code from the authenticator app, or a recovery code.",
        }),
      ),
    },
    closed,
  ),
  { username: "ana", password: "correct horse battery staple" },
);

const TokenRefresh = named(
  "TokenRefresh",
  Type.Object({ refresh_token: Type.String({ minLength: 1, maxLength: 256 }) }, closed),
  { refresh_token: "c4r_5rYbq2t8Zk1" },
);

/** Which API keys of a user are revoked as well. `otherwise` describes the default. */
export function revokeApiKeysSince(otherwise: string) {
  const description =
    "Revokes the API keys that the user created at this time or later, and the invitations, password resets and webhook " +
    `endpoints. Default: ${otherwise}.`;
  return Type.Optional(nullable(Type.String({ format: "date-time", description })));
}

/** How a person gets tokens, refreshes them and gives them back. */
export const auth = operations("Authentication", {
  registerUser: {
    method: "POST",
    path: "/auth/register",
    summary: "Register a user",
    description:
      "The user becomes a member of the default workspace and is logged in. 403 when registration is closed. 409 when the " +
      "username or the email address is taken.",
    access: "public",
    admission: "always",
    idempotent: { by: "username" },
    body: Registration,
    answers: { 201: LoggedInUser },
    errors: [403],
  },
  logIn: {
    method: "POST",
    path: "/auth/token",
    summary: "Log in with a username and password",
    description:
      "An unknown user and a wrong password get the same response. After several failures a client must wait for its turn: 429 " +
      "with `retry-after`. Attempts of other clients do not delay a reserved turn. An IP address from which the user has " +
      "logged in before has its own attempts.",
    access: "public",
    admission: "always",
    body: LogIn,
    answers: { 200: UserTokens },
    errors: [401],
  },
  refreshTokens: {
    method: "POST",
    path: "/auth/refresh",
    summary: "Exchange a refresh token for new tokens",
    description:
      "A refresh token works once. If you use it again within 10 seconds, because the response was lost, you get the same new " +
      "refresh token. Any other second use ends the session.",
    access: "public",
    admission: "always",
    body: TokenRefresh,
    answers: { 200: Tokens },
    errors: [401],
  },
  logOut: {
    method: "POST",
    path: "/auth/logout",
    summary: "Log out",
    description: "Ends the session: its refresh token at once, its access tokens within 30 seconds in every process.",
    access: { role: "member", session: true },
    answers: { 204: null },
  },
  logOutEverywhere: {
    method: "POST",
    path: "/auth/logout-everywhere",
    summary: "End all sessions of the current user",
    description:
      "Including this one. API keys, invitations, password resets and webhook endpoints that the user created stay valid " +
      "unless you give a time.",
    access: { role: "member", session: true },
    body: named("LogOutEverywhere", Type.Object({ revoke_api_keys_since: revokeApiKeysSince("none") }, closed), {
      revoke_api_keys_since: "2026-11-29T12:00:00.000Z",
    }),
    isBodyOptional: true,
    answers: { 204: null },
  },
});
