import { Type } from "typebox";
import { type Scope, scopes } from "../../../contract/src/access.ts";
import { decodeCursor, pageOf, pageQuery, toPage } from "../http/pages.ts";
import type { App } from "../http/server.ts";
import { type ApiKey, createApiKey, listApiKeys, revokeApiKey } from "../identity/api-keys.ts";
import type { Authenticator } from "../identity/authenticate.ts";
import type { Clock } from "../lib/clock.ts";
import { bearer, errorAnswers, idParams, line, nothing, nullable, time, uuid } from "./identity-schemas.ts";

/** `/v1/api-keys`: credentials for programs, made by users and acting for them. */
export function apiKeyRoutes(app: App, deps: { clock: Clock } & Pick<Authenticator, "forget">): void {
  app.post(
    "/v1/api-keys",
    {
      config: { access: { role: "member", scope: "api-keys:write" }, idempotent: true, shows: "all" },
      schema: {
        tags,
        security: bearer,
        summary: "Make an API key",
        description:
          'It acts for the caller, with the caller\'s role at any time, within its scopes; `["*"]` is all. A key that an ' +
          "API key makes shares that key's limit and ends with it.",
        body: Type.Object(
          {
            name: line(200),
            scopes: Type.Array(scopeName, {
              minItems: 1,
              maxItems: 50,
              description: "What the key may do; `*` is everything",
            }),
            expires_at: Type.Optional(nullable(time)),
            rate_limit: Type.Optional(nullable(rateLimit)),
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
    async ({ principal, db, body: { expires_at, rate_limit, ...body } }, reply) => {
      const made = await createApiKey({ ...deps, db }, principal, {
        ...body,
        ...(expires_at ? { expiresAt: new Date(expires_at) } : {}),
        ...(rate_limit ? { rateLimit: { perSecond: rate_limit.per_second, burst: rate_limit.burst } } : {}),
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
        description: "Keys that this key made, directly or through another key, end with it.",
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

export const scopeName = Type.Enum(["*", ...scopes] as ["*" | Scope, ...("*" | Scope)[]]);

const rateLimit = Type.Object(
  {
    per_second: Type.Number({ minimum: 0.01, maximum: 100_000, description: "Requests a second, on average" }),
    burst: Type.Integer({ minimum: 1, maximum: 1_000_000, description: "Requests at once, after a pause" }),
  },
  { additionalProperties: false, description: "The limit of this key; null: none of its own" },
);

export const apiKeyResource = Type.Object({
  api_key_id: uuid,
  name: Type.String(),
  key_hint: Type.String(),
  scopes: Type.Array(scopeName),
  created_by: uuid,
  parent_id: nullable(uuid, { description: "The API key that made this one; null: a person made it" }),
  expires_at: nullable(time),
  rate_limit: nullable(rateLimit),
  last_used_at: nullable(time),
  created_at: time,
});

export function showApiKey(row: ApiKey) {
  const { api_key_id, name, key_hint, scopes, created_by, parent_id, rate_per_second, rate_burst } = row;
  return {
    api_key_id,
    name,
    key_hint,
    scopes,
    created_by,
    parent_id,
    expires_at: row.expires_at?.toISOString() ?? null,
    rate_limit:
      rate_per_second === null || rate_burst === null ? null : { per_second: rate_per_second, burst: rate_burst },
    last_used_at: row.last_used_at?.toISOString() ?? null,
    created_at: row.created_at.toISOString(),
  };
}
