import { Type } from "typebox";
import { credentialFields, User as userResource } from "../../../contract/src/users.ts";
import { optionalBody } from "../http/json-body.ts";
import { type App, originOf } from "../http/server.ts";
import type { Authenticator } from "../identity/authenticate.ts";
import { logIn } from "../identity/log-in.ts";
import { openLogInTries } from "../identity/log-in-tries.ts";
import { refreshSession } from "../identity/refresh-session.ts";
import { registerUser } from "../identity/registration.ts";
import { logOut, logOutEverywhere, openSession } from "../identity/sessions.ts";
import type { Tokens } from "../identity/tokens.ts";
import { requireSecondFactor } from "../identity/totp/second-factor.ts";
import type { UserDeps } from "../identity/users.ts";
import type { SecretBox } from "../lib/secret-box.ts";
import { bearer, errorAnswers, nothing, revokeApiKeysSince, uuid } from "./identity-schemas.ts";
import { showUser } from "./users.ts";

export interface AuthRouteDeps extends UserDeps, Pick<Authenticator, "forget"> {
  tokens: Tokens;
  /** Opens the secrets of second factors. */
  box: SecretBox;
  registration: "open" | "invite" | "closed";
}

/** `/auth/…`: how a person gets tokens, keeps them fresh and gives them back. */
export function authRoutes(app: App, deps: AuthRouteDeps): void {
  const logInDeps = {
    ...deps,
    tries: openLogInTries(deps),
    secondFactor: (userId: string, code: string | undefined) => requireSecondFactor(deps, userId, code),
  };
  app.post(
    "/auth/register",
    {
      config: { access: "public", idempotent: { by: "username" }, admission: "always" },
      schema: {
        tags,
        security: [],
        summary: "Make an account",
        description: "Joins the default workspace as a member. 403 when the hub's registration is closed.",
        body: Type.Object(credentialFields, { additionalProperties: false }),
        response: {
          201: Type.Object({ user: userResource, ...tokenFields }),
          ...errorAnswers(400, 403, 409, 503),
        },
      },
    },
    async (request, reply) => {
      reply.header("cache-control", "no-store");
      const user = await registerUser(deps, originOf(request), request.body);
      const tokens = await openSession(deps, {
        userId: user.user_id,
        origin: originOf(request),
        method: "registration",
      });
      return reply.status(201).send({ user: showUser(user), ...tokens });
    },
  );

  app.post(
    "/auth/token",
    {
      config: { access: "public", admission: "always" },
      schema: {
        tags,
        security: [],
        summary: "Log in",
        description:
          "An unknown user and a wrong password get the same answer. After several failures a client must wait for its " +
          "turn: 429 with `retry-after`. Tries of others do not delay a reserved turn. An address from which " +
          "the user has logged in before has tries of its own. A user with a second factor also sends `totp_code`.",
        body: Type.Object(
          {
            username: Type.String({ minLength: 1, maxLength: 256 }),
            password: Type.String({ minLength: 1, maxLength: 256 }),
            totp_code: Type.Optional(Type.String({ minLength: 1, maxLength: 64 })),
          },
          { additionalProperties: false },
        ),
        response: { 200: Type.Object({ ...tokenFields, user_id: uuid }), ...errorAnswers(400, 401, 429, 503) },
      },
    },
    async (request, reply) => {
      reply.header("cache-control", "no-store");
      const { username, password, totp_code: code } = request.body;
      return logIn(logInDeps, originOf(request), { username, password, code });
    },
  );

  app.post(
    "/auth/refresh",
    {
      config: { access: "public", admission: "always" },
      schema: {
        tags,
        security: [],
        summary: "Trade a refresh token for a new pair",
        description:
          "Each refresh token works once. Used again within 10 seconds, because the answer was lost, it gets the same " +
          "new one; any other second use ends the session.",
        body: Type.Object(
          { refresh_token: Type.String({ minLength: 1, maxLength: 256 }) },
          { additionalProperties: false },
        ),
        response: { 200: Type.Object(tokenFields), ...errorAnswers(400, 401) },
      },
    },
    async (request, reply) => {
      reply.header("cache-control", "no-store");
      return refreshSession(deps, originOf(request), request.body.refresh_token);
    },
  );

  app.post(
    "/auth/logout",
    {
      config: { access: { role: "member", session: true } },
      schema: {
        tags,
        security: bearer,
        summary: "Log out",
        description:
          "Ends the session: its refresh token at once, its access tokens within 30 seconds in every process.",
        response: { 204: nothing, ...errorAnswers(401, 403) },
      },
    },
    async (request, reply) => {
      await logOut(deps, request.principal);
      return reply.status(204).send(null);
    },
  );

  app.post(
    "/auth/logout-everywhere",
    {
      config: { access: { role: "member", session: true } },
      ...optionalBody,
      schema: {
        tags,
        security: bearer,
        summary: "Log out everywhere",
        description:
          "Ends all sessions of the caller, including this one. API keys, invitations, password resets and webhook " +
          "endpoints that the caller made stay valid unless a time is given.",
        body: Type.Object({ revoke_api_keys_since: revokeApiKeysSince("none") }, { additionalProperties: false }),
        response: { 204: nothing, ...errorAnswers(400, 401, 403) },
      },
    },
    async ({ principal, body: { revoke_api_keys_since: since } }, reply) => {
      await logOutEverywhere(deps, principal, { apiKeysSince: since ? new Date(since) : null });
      return reply.status(204).send(null);
    },
  );
}

const tags = ["Identity"];

export const tokenFields = {
  access_token: Type.String(),
  refresh_token: Type.String(),
  token_type: Type.Literal("Bearer"),
  expires_in: Type.Integer({ description: "Seconds until the access token expires" }),
};
