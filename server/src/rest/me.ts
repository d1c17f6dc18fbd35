import { me } from "../../../contract/src/me.ts";
import { readAddresses } from "../contacts/contacts.ts";
import { findApiKey, type Principal } from "../credentials/credentials.ts";
import type { App } from "../http/app.ts";
import { route } from "../http/route.ts";
import type { Db } from "../lib/query.ts";
import type { SecretBox } from "../lib/secret-box.ts";
import { getUser, type User, updateMe } from "../users/users.ts";
import { showApiKey } from "./api-keys.ts";
import { showUser } from "./users.ts";

/** `/v1/me`: the caller; for an API key, the user who made it. */
export function meRoutes(app: App, { box }: { box: SecretBox }): void {
  route(app, me.getMe, async ({ principal, db }) => showMe(db, principal, await getUser(db, principal)));

  route(app, me.updateMe, async ({ principal, db, body }) => {
    const { display_name, preferred_model, llm_api_key } = body;
    const changes = { displayName: display_name, preferredModel: preferred_model, llmApiKey: llm_api_key };
    return showMe(db, principal, await updateMe({ db, box }, principal, changes));
  });
}

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
