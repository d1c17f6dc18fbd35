import { Type } from "typebox";
import { readAddresses } from "../contacts/contacts.ts";
import type { App } from "../http/server.ts";
import { findApiKey } from "../identity/api-keys.ts";
import { updateMe } from "../identity/me.ts";
import type { Principal } from "../identity/principal.ts";
import { getUser, type User } from "../identity/users.ts";
import type { Db } from "../lib/query.ts";
import type { SecretBox } from "../lib/secret-box.ts";
import { apiKeyResource, scopeName, showApiKey } from "./api-keys.ts";
import {
  bearer,
  displayName,
  errorAnswers,
  line,
  nullable,
  showUser,
  userAddressList,
  userResource,
} from "./identity-schemas.ts";

/** `/v1/me`: the caller; for an API key, the user who made it. */
export function meRoutes(app: App, { box }: { box: SecretBox }): void {
  app.get(
    "/v1/me",
    {
      config: { access: { role: "member" } },
      schema: {
        tags,
        security: bearer,
        summary: "Who am I",
        description:
          "The user, and the credential of this request: for an API key its scopes, and the user who made it. " +
          "Needs no scope, so that you can try any key.",
        response: { 200: meResource, ...errorAnswers(401) },
      },
    },
    async ({ principal, db }) => showMe(db, principal, await getUser(db, principal)),
  );

  app.patch(
    "/v1/me",
    {
      config: { access: { role: "member", scope: "users:write" }, shows: "all" },
      schema: {
        tags,
        security: bearer,
        summary: "Change what is mine to change",
        description: "`llm_api_key` is stored encrypted and never shown. `null` clears the key or the model.",
        body: Type.Object(
          {
            display_name: Type.Optional(displayName),
            preferred_model: Type.Optional(nullable(line(200))),
            llm_api_key: Type.Optional(nullable(line(1000))),
          },
          { additionalProperties: false },
        ),
        response: { 200: meResource, ...errorAnswers(400, 401, 403) },
      },
    },
    async ({ principal, db, body }) => {
      const { display_name, preferred_model, llm_api_key } = body;
      const changes = { displayName: display_name, preferredModel: preferred_model, llmApiKey: llm_api_key };
      return showMe(db, principal, await updateMe({ db, box }, principal, changes));
    },
  );
}

const tags = ["Identity"];

const meResource = Type.Object({
  ...userResource.properties,
  preferred_model: nullable(Type.String()),
  llm_api_key_configured: Type.Boolean(),
  addresses: userAddressList,
  credential: Type.Object(
    {
      kind: Type.Enum(["session", "api_key"]),
      scopes: Type.Array(scopeName, { description: "A session has all: `*`" }),
      api_key: nullable(apiKeyResource),
    },
    { description: "The credential of this request; `api_key` is null for a session" },
  ),
});

async function credentialOf(db: Db, principal: Principal) {
  const { kind, scopes } = principal;
  if (kind === "user") return { kind: "session" as const, scopes: [...scopes], api_key: null };
  return { kind, scopes: [...scopes], api_key: showApiKey(await findApiKey(db, principal)) };
}

async function showMe(db: Db, principal: Principal, user: User) {
  const { preferred_model, llm_api_key_configured } = user;
  const [addresses, credential] = [await readAddresses(db, user.user_id), await credentialOf(db, principal)];
  return { ...showUser(user), preferred_model, llm_api_key_configured, addresses, credential };
}
