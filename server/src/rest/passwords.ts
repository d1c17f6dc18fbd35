import { Type } from "typebox";
import { credentialFields } from "../../../contract/src/users.ts";
import { type App, originOf } from "../http/server.ts";
import type { Authenticator } from "../identity/authenticate.ts";
import { changePassword } from "../identity/change-password.ts";
import type { Ending } from "../identity/end-access.ts";
import type { LogInTries } from "../identity/log-in-tries.ts";
import type { PasswordHasher } from "../identity/password.ts";
import { type ForgottenPasswords, resetPassword, resetPasswordOf } from "../identity/password-resets.ts";
import type { Clock } from "../lib/clock.ts";
import type { Mailer } from "../lib/mailer.ts";
import type { Pool } from "../lib/postgres.ts";
import { bearer, errorAnswers, idParams, nothing, revokeApiKeysSince, time } from "./identity-schemas.ts";

export interface PasswordRouteDeps extends Pick<Authenticator, "forget"> {
  identityDb: Pool;
  clock: Clock;
  hasher: PasswordHasher;
  mailer: Mailer;
  publicUrl: string;
  forgotten: ForgottenPasswords;
  tries: LogInTries;
}

/** Changing a password, and resetting a forgotten one. */
export function passwordRoutes(app: App, deps: PasswordRouteDeps): void {
  const newPassword = credentialFields.password;

  app.post(
    "/v1/me/password",
    {
      config: { access: { role: "member", session: true } },
      schema: {
        tags,
        security: bearer,
        summary: "Change my password",
        description:
          "Ends all other sessions of the caller, and what the caller made since that was last ended: API keys, " +
          "invitations, password resets and webhook endpoints. The body can say otherwise. A user without a password, who logs in through a provider, leaves " +
          "`current_password` out, within 10 minutes of a log-in. Not for API keys.",
        body: Type.Object(
          {
            current_password: Type.Optional(Type.String({ minLength: 1, maxLength: 256 })),
            new_password: newPassword,
            ...endingFields("since they were last ended all together"),
          },
          { additionalProperties: false },
        ),
        response: { 204: nothing, ...errorAnswers(400, 401, 403, 409, 429, 503) },
      },
    },
    async ({ principal, db, body }, reply) => {
      const { current_password: currentPassword, new_password: newPassword } = body;
      const passwords = { currentPassword, newPassword, ending: endingOf(body) };
      await changePassword({ ...deps, db }, principal, passwords);
      return reply.status(204).send(null);
    },
  );

  app.post(
    "/auth/password/forgot",
    {
      config: { access: "public" },
      schema: {
        tags,
        security: [],
        summary: "Ask for a mail to set a new password",
        description:
          "Always the same answer, whether there is such a user or not. A mail goes out when SMTP_URL is set, one in " +
          "five minutes for each user; without it nothing happens, and an admin can make a token instead.",
        body: Type.Object({ email: credentialFields.email }, { additionalProperties: false }),
        response: { 202: nothing, ...errorAnswers(400) },
      },
    },
    async (request, reply) => {
      deps.forgotten.ask(request.body.email, originOf(request));
      return reply.status(202).send(null);
    },
  );

  app.post(
    "/v1/users/:id/password-reset",
    {
      config: { access: { role: "admin", scope: "users:write" }, idempotent: true, shows: "all" },
      schema: {
        tags: ["Users"],
        security: bearer,
        summary: "Let a user set a new password",
        description:
          "The token is shown by this answer alone, works once within an hour, and is mailed when SMTP_URL is set. " +
          "The old password works until the new one is set.",
        params: idParams,
        response: {
          201: Type.Object({ token: Type.String(), url: Type.String(), expires_at: time, mailed: Type.Boolean() }),
          ...errorAnswers(400, 401, 403, 404),
        },
      },
    },
    async ({ principal, db, params }, reply) => {
      const { is_mailed, expires_at, ...reset } = await resetPasswordOf({ ...deps, db }, principal, params.id);
      reply.header("cache-control", "no-store");
      return reply.status(201).send({ ...reset, expires_at: expires_at.toISOString(), mailed: is_mailed });
    },
  );

  app.post(
    "/auth/password/reset",
    {
      config: { access: "public", admission: "always" },
      schema: {
        tags,
        security: [],
        summary: "Set a new password with a token",
        description:
          "Ends all sessions of the user and all API keys, invitations, password resets and webhook endpoints that the " +
          "user made. The body can say otherwise. A second factor stays on.",
        body: Type.Object(
          { token: Type.String({ minLength: 1, maxLength: 100 }), new_password: newPassword, ...endingFields("all") },
          { additionalProperties: false },
        ),
        response: { 204: nothing, ...errorAnswers(400, 401, 503) },
      },
    },
    async (request, reply) => {
      const { token, new_password: newPassword } = request.body;
      const input = { token, newPassword, ending: endingOf(request.body) };
      await resetPassword({ ...deps, db: deps.identityDb }, originOf(request), input);
      return reply.status(204).send(null);
    },
  );
}

const tags = ["Identity"];

function endingFields(otherwise: string) {
  return {
    revoke_sessions: Type.Optional(
      Type.Boolean({
        default: true,
        description: "Whether the other sessions end, because others may have known the old password",
      }),
    ),
    revoke_api_keys_since: revokeApiKeysSince(`${otherwise}; null: none`),
  };
}

function endingOf(body: { revoke_sessions?: boolean; revoke_api_keys_since?: string | null }): Ending {
  const { revoke_sessions: sessions, revoke_api_keys_since: since } = body;
  return { sessions, apiKeysSince: typeof since === "string" ? new Date(since) : since };
}
