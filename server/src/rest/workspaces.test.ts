import assert from "node:assert/strict";
import { before, test } from "node:test";
import { closeAfterTests } from "../testing/close-after-tests.ts";
import { adminPassword, type IdentityHub, startIdentityHub } from "../testing/identity-hub.ts";

let hub: IdentityHub;
let token: string;
const opened = closeAfterTests();
before(async () => {
  hub = opened.use(await startIdentityHub());
  token = (await hub.logIn("admin")).access_token;
});

const workspaceOf = (username: string) => ({
  name: `Of ${username}`,
  admin: { username, email: `${username}@example.com`, password: adminPassword },
});

test("a new workspace has an admin and is a participant", async () => {
  hub.passTime(1);
  const { status, body } = await hub.call("POST /v1/workspaces", { token, body: workspaceOf("zoe") });
  assert.deepEqual([status, body.name], [201, "Of zoe"]);

  const { access_token } = await hub.logIn("zoe");
  const me = (await hub.call("GET /v1/me", { token: access_token })).body;
  assert.deepEqual([me.workspace_id, me.role], [body.workspace_id, "admin"]);
  const { rows } = await hub.db.query("SELECT kind, workspace_id FROM participants WHERE participant_id = $1", [
    body.workspace_id,
  ]);
  assert.deepEqual(rows, [{ kind: "workspace", workspace_id: body.workspace_id }]);
  const list = await hub.call("GET /v1/workspaces?limit=1", { token });
  assert.deepEqual(list.body.data, [body]);
  const rest = await hub.call(`GET /v1/workspaces?cursor=${list.body.next_cursor}`, { token });
  assert.deepEqual(
    rest.body.data.map(({ name }: { name: string }) => name),
    ["Default"],
  );
});

test("admins of other workspaces can neither see nor create workspaces", async () => {
  await hub.call("POST /v1/workspaces", { token, body: workspaceOf("yan") });
  const theirs = (await hub.logIn("yan")).access_token;
  assert.equal((await hub.call("GET /v1/workspaces", { token: theirs })).status, 403);
  assert.equal((await hub.call("POST /v1/workspaces", { token: theirs, body: workspaceOf("xia") })).status, 403);
});

test("nothing of one workspace is visible to another", async () => {
  await hub.call("POST /v1/workspaces", { token, body: workspaceOf("wim") });
  const { access_token: theirs, user_id: wim } = await hub.logIn("wim");
  const { body: key } = await hub.call("POST /v1/api-keys", { token: theirs, body: { name: "theirs", scopes: ["*"] } });

  const tries = ["GET /v1/users/", "PATCH /v1/users/", "DELETE /v1/users/"].map((target) =>
    hub.call(target + wim, { token, ...(target.startsWith("PATCH") ? { body: { role: "member" } } : {}) }),
  );
  tries.push(hub.call(`DELETE /v1/api-keys/${key.api_key_id}`, { token }));
  for (const { status, body } of await Promise.all(tries)) {
    assert.deepEqual([status, body.error.code], [404, "RESOURCE_NOT_FOUND"]);
  }
  for (const path of ["/v1/users", "/v1/api-keys"]) {
    const { body } = await hub.call(`GET ${path}?limit=200`, { token });
    assert.ok(!JSON.stringify(body).includes(wim));
  }
});

test("a taken admin name creates no workspace", async () => {
  const body = { ...workspaceOf("admin"), name: "Half made" };
  const refused = await hub.call("POST /v1/workspaces", { token, body });
  assert.deepEqual([refused.status, refused.body.error.details.field], [409, "username"]);
  const { rows } = await hub.db.query("SELECT name FROM workspaces WHERE name = 'Half made'");
  assert.deepEqual(rows, []);
});
