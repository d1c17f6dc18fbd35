import { Type } from "typebox";
import type { App } from "../http/server.ts";
import type { LogInTries } from "../identity/log-in-tries.ts";
import { beginTotp, confirmTotp, endTotp, removeTotp, type TotpDeps } from "../identity/totp/totp.ts";
import { bearer, errorAnswers, idParams, nothing } from "./identity-schemas.ts";

/** `/v1/me/totp`: a second factor beside the password, by an authenticator app. */
export function totpRoutes(app: App, deps: Omit<TotpDeps, "db"> & { tries: LogInTries }): void {
  app.post(
    "/v1/me/totp",
    {
      config: { access: { role: "member", session: true }, idempotent: true },
      schema: {
        tags,
        security: bearer,
        summary: "Begin a second factor",
        description:
          "Put the secret into an authenticator app and confirm one of its codes: only then does it count. Asking again " +
          "gives another secret. Log-in through a provider does not ask for it. Not for API keys.",
        response: {
          201: Type.Object({ secret: Type.String(), otpauth_url: Type.String() }),
          ...errorAnswers(400, 401, 403, 409),
        },
      },
    },
    async ({ principal, db }, reply) => {
      reply.header("cache-control", "no-store");
      return reply.status(201).send(await beginTotp({ ...deps, db }, principal));
    },
  );

  app.post(
    "/v1/me/totp/confirm",
    {
      config: { access: { role: "member", session: true } },
      schema: {
        tags,
        security: bearer,
        summary: "Confirm the second factor",
        description: "From now on log-in asks for a code. Each recovery code stands in for one, once; keep them apart.",
        body: Type.Object({ code }, { additionalProperties: false }),
        response: {
          200: Type.Object({ recovery_codes: Type.Array(Type.String()) }),
          ...errorAnswers(400, 401, 403, 409),
        },
      },
    },
    async ({ principal, db, body }, reply) => {
      reply.header("cache-control", "no-store");
      return confirmTotp({ ...deps, db }, principal, body.code);
    },
  );

  app.delete(
    "/v1/me/totp",
    {
      config: { access: { role: "member", session: true } },
      schema: {
        tags,
        security: bearer,
        summary: "Remove my second factor",
        body: Type.Object({ code }, { additionalProperties: false }),
        response: { 204: nothing, ...errorAnswers(400, 401, 403, 404, 429) },
      },
    },
    async ({ principal, db, body }, reply) => {
      await endTotp({ ...deps, db }, principal, body.code);
      return reply.status(204).send(null);
    },
  );

  app.delete(
    "/v1/users/:id/totp",
    {
      config: { access: { role: "admin", scope: "users:write" } },
      schema: {
        tags: ["Users"],
        security: bearer,
        summary: "Remove a user's second factor",
        description: "For somebody who lost the telephone and the recovery codes.",
        params: idParams,
        response: { 204: nothing, ...errorAnswers(400, 401, 403, 404) },
      },
    },
    async ({ principal, db, params }, reply) => {
      await removeTotp({ ...deps, db }, principal, params.id);
      return reply.status(204).send(null);
    },
  );
}

const tags = ["Identity"];

const code = Type.String({
  minLength: 6,
  maxLength: 30,
  description: "Six digits from the authenticator app, or a recovery code",
});
