import assert from "node:assert/strict";
import { before, test } from "node:test";
import { closeAfterTests } from "../testing/close-after-tests.ts";
import { type IdentityHub, startIdentityHub } from "../testing/identity-hub.ts";
import { sealedLlmKeys } from "../users/users.ts";

let hub: IdentityHub;
let token: string;
let userId: string;
const opened = closeAfterTests();
before(async () => {
  hub = opened.use(await startIdentityHub());
  ({ access_token: token, user_id: userId } = await hub.logIn("admin"));
});

test("an update changes only the fields it names", async () => {
  await hub.call("PATCH /v1/me", { token, body: { display_name: "Ana", preferred_model: "qwen-max" } });
  const { status, body } = await hub.call("PATCH /v1/me", { token, body: { preferred_model: null } });
  assert.deepEqual([status, body.display_name, body.preferred_model], [200, "Ana", null]);
  assert.deepEqual((await hub.call("GET /v1/me", { token })).body, body);
});

test("the user's own LLM key is encrypted at rest, never shown, and can be removed", async () => {
  const key = "sk-very-secret";
  const set = await hub.call("PATCH /v1/me", { token, body: { llm_api_key: key } });
  assert.equal(set.body.llm_api_key_configured, true);
  assert.ok(!JSON.stringify(set.body).includes(key));
  const sealed = await readSealed();
  assert.ok(!sealed.includes(key));
  assert.equal(hub.box.open(sealed, sealedLlmKeys.contextOf(userId)), key);

  const cleared = await hub.call("PATCH /v1/me", { token, body: { llm_api_key: null } });
  assert.equal(cleared.body.llm_api_key_configured, false);
  assert.equal(await readSealed(), null);
});

async function readSealed() {
  const { rows } = await hub.db.query("SELECT llm_api_key_sealed FROM users WHERE user_id = $1", [userId]);
  return rows[0].llm_api_key_sealed;
}

test("users cannot change their own role, and a display name must not be blank", async () => {
  const refused = { role: "admin", username: "x", email: "x@y.z", disabled: true, llm_api_key_configured: true };
  for (const [field, value] of [...Object.entries(refused), ["display_name", ""], ["display_name", "a\u0000b"]]) {
    const { status, body } = await hub.call("PATCH /v1/me", { token, body: { [field as string]: value } });
    assert.deepEqual([status, body.error.code, body.error.details.field], [400, "VALIDATION_ERROR", field]);
  }
});
