import { Type } from "typebox";
import { type Scope, scopes } from "./access.ts";
import { operations } from "./operation.ts";
import { closed, line, named, nullable, pageOf, pageQuery, time, uuid } from "./schemas.ts";

export const KeyScope = named("Scope", Type.Enum(["*", ...scopes] as ["*" | Scope, ...("*" | Scope)[]]));

const RateLimit = named(
  "RateLimit",
  Type.Object(
    {
      per_second: Type.Number({ minimum: 0.01, maximum: 100_000, description: "Requests per second, on average." }),
      burst: Type.Integer({ minimum: 1, maximum: 1_000_000, description: "Requests at once, after a pause." }),
    },
    { ...closed, description: "The limit of this key. Null: it has no separate limit." },
  ),
);

export const ApiKey = named(
  "ApiKey",
  Type.Object({
    api_key_id: uuid,
    name: Type.String(),
    key_hint: Type.String({ description: "The first 8 and last 4 characters of the key." }),
    scopes: Type.Array(KeyScope),
    created_by: uuid,
    parent_id: nullable(uuid, {
      description: "The API key that created this one. Null when a logged-in user created it.",
    }),
    expires_at: nullable(time),
    rate_limit: nullable(RateLimit),
    last_used_at: nullable(time),
    created_at: time,
  }),
  {
    api_key_id: "0192f5c4-7d1e-7b3a-9c55-0a8e4f1d2b3c",
    name: "CRM",
    key_hint: "c4a_x7Kd…f3Qz",
    scopes: ["messages:write", "conversations:read"],
    created_by: "0192f5c4-6a10-7c21-8d4e-3b2a1c0d9e8f",
    parent_id: null,
    expires_at: null,
    rate_limit: { per_second: 20, burst: 100 },
    last_used_at: null,
    created_at: "2026-11-29T12:00:00.000Z",
  },
);

const NewApiKey = named(
  "NewApiKey",
  Type.Object(
    {
      name: line(200),
      scopes: Type.Array(KeyScope, {
        minItems: 1,
        maxItems: 50,
        description: "What the key may do. `*` is everything.",
      }),
      expires_at: Type.Optional(nullable(time)),
      rate_limit: Type.Optional(nullable(RateLimit)),
    },
    closed,
  ),
  {
    name: "CRM",
    scopes: ["messages:write", "conversations:read"],
    expires_at: "2027-11-29T12:00:00.000Z",
    rate_limit: { per_second: 20, burst: 100 },
  },
);

const CreatedApiKey = named(
  "CreatedApiKey",
  Type.Object({
    ...ApiKey.properties,
    key: Type.String({ description: "The key itself. Only this response shows it." }),
  }),
);

export const apiKeys = operations("API keys", {
  createApiKey: {
    method: "POST",
    path: "/v1/api-keys",
    summary: "Create an API key",
    description:
      "The key acts for the caller, within its scopes and with the role that the caller has at the time of each request. A key that an API key creates " +
      "shares the limit of that key and ends with it.",
    access: { role: "member", scope: "api-keys:write" },
    idempotent: true,
    shows: "all",
    body: NewApiKey,
    answers: { 201: CreatedApiKey },
  },
  listApiKeys: {
    method: "GET",
    path: "/v1/api-keys",
    summary: "List API keys, newest first",
    description: "The caller's own keys; for an admin all keys of the workspace. Revoked keys are not listed.",
    access: { role: "member", scope: "api-keys:read" },
    query: Type.Object(pageQuery, closed),
    answers: { 200: pageOf(ApiKey) },
  },
  revokeApiKey: {
    method: "DELETE",
    path: "/v1/api-keys/{id}",
    summary: "Revoke an API key",
    description: "Also revokes the keys that this key created, directly or through another key.",
    access: { role: "member", scope: "api-keys:write" },
    answers: { 204: null },
  },
});
