import { Type } from "typebox";
import { type ApiKey, createApiKey, listApiKeys, revokeApiKey } from "../identity/api-keys.ts";
import type { Authenticator } from "../identity/authenticate.ts";
import { type Scope, scopes } from "../identity/principal.ts";
import type { Clock } from "../lib/clock.ts";
import { bearer, errorAnswers, idParams, line, nothing, nullable, time, uuid } from "./identity-schemas.ts";
import { decodeCursor, pageOf, pageQuery, toPage } from "./pages.ts";
import type { App } from "./server.ts";

/** `/v1/api-keys`: credentials for programs, made by users and acting for them. */
export function apiKeyRoutes(app: App, deps: { clock: Clock } & Pick<Authenticator, "forget">): void {
  app.post(
    "/v1/api-keys",
    {
      config: { access: { role: "member", scope: "api-keys:write" }, idempotent: true },
      schema: {
        tags,
        security: bearer,
        summary: "Make an API key",
        description: "It acts for the caller, with the caller's role at any time, within its scopes (default: all).",
        body: Type.Object(
          {
            name: line(200),
            scopes: Type.Optional(Type.Array(scopeName, { minItems: 1, maxItems: 50 })),
            expires_at: Type.Optional(nullable(time)),
          },
          { additionalProperties: false },
        ),
        response: {
          201: Type.Object({
            ...apiKeyResource.properties,
            key: Type.String({ description: "The key itself, shown this once" }),
          }),
          ...errorAnswers(400, 401, 403, 409),
        },
      },
    },
    async ({ principal, db, body: { expires_at, ...body } }, reply) => {
      const made = await createApiKey({ ...deps, db }, principal, {
        ...body,
        ...(expires_at ? { expiresAt: new Date(expires_at) } : {}),
      });
      return reply.status(201).send({ ...showApiKey(made), key: made.key });
    },
  );

  app.get(
    "/v1/api-keys",
    {
      config: { access: { role: "member", scope: "api-keys:read" } },
      schema: {
        tags,
        security: bearer,
        summary: "List API keys",
        description: "The caller's own; for an admin all of the workspace. Revoked ones are not shown.",
        querystring: pageQuery,
        response: { 200: pageOf(apiKeyResource), ...errorAnswers(400, 401, 403) },
      },
    },
    async ({ principal, db, query: { limit = 50, cursor } }) => {
      const rows = await listApiKeys(db, principal, { limit, after: decodeCursor(cursor) });
      return toPage(rows, limit, showApiKey, (row) => ({ at: row.created_at, id: row.api_key_id }));
    },
  );

  app.delete(
    "/v1/api-keys/:id",
    {
      config: { access: { role: "member", scope: "api-keys:write" } },
      schema: {
        tags,
        security: bearer,
        summary: "Revoke an API key",
        params: idParams,
        response: { 204: nothing, ...errorAnswers(400, 401, 403, 404) },
      },
    },
    async ({ principal, db, params }, reply) => {
      await revokeApiKey({ ...deps, db }, principal, params.id);
      return reply.status(204).send(null);
    },
  );
}

const tags = ["Identity"];

const scopeName = Type.Enum(["*", ...scopes] as ["*" | Scope, ...("*" | Scope)[]]);

const apiKeyResource = Type.Object({
  api_key_id: uuid,
  name: Type.String(),
  key_hint: Type.String(),
  scopes: Type.Array(scopeName),
  created_by: uuid,
  expires_at: nullable(time),
  last_used_at: nullable(time),
  created_at: time,
});

function showApiKey(row: ApiKey) {
  const { api_key_id, name, key_hint, scopes, created_by } = row;
  return {
    api_key_id,
    name,
    key_hint,
    scopes,
    created_by,
    expires_at: row.expires_at?.toISOString() ?? null,
    last_used_at: row.last_used_at?.toISOString() ?? null,
    created_at: row.created_at.toISOString(),
  };
}
