import assert from "node:assert/strict";
import { before, test } from "node:test";
import { closeAfterTests } from "../testing/close-after-tests.ts";
import { adminPassword, type IdentityHub, startIdentityHub } from "../testing/identity-hub.ts";

let hub: IdentityHub;
let admin: { access_token: string; user_id: string };
let token: string;
const opened = closeAfterTests();
before(async () => {
  hub = opened.use(await startIdentityHub());
  admin = await hub.logIn("admin");
  token = admin.access_token;
});

async function makeUser(username: string, more: object = {}) {
  const body = { username, email: `${username}@example.com`, password: adminPassword, role: "agent", ...more };
  const made = await hub.call("POST /v1/users", { token, body });
  assert.equal(made.status, 201, JSON.stringify(made.body));
  return made.body;
}

test("an admin creates users, who can log in with their role", async () => {
  const made = await makeUser("ana", { display_name: "Ana Lima" });
  assert.deepEqual([made.display_name, made.role, made.disabled], ["Ana Lima", "agent", false]);
  const session = await hub.logIn("ana");
  const me = await hub.call("GET /v1/me", { token: session.access_token });
  assert.equal(me.body.role, "agent");
  const { rows } = await hub.db.query("SELECT kind FROM participants WHERE participant_id = $1", [made.user_id]);
  assert.deepEqual(rows, [{ kind: "user" }]);
});

test("no response contains a hash or an encrypted key", async () => {
  const seen = [await hub.call("GET /v1/users", { token }), await hub.call("GET /v1/me", { token })];
  for (const { body } of seen) assert.doesNotMatch(JSON.stringify(body), /hash|sealed|argon2/);
});

test("agents can see users, only admins can change them, members can do neither", async () => {
  await makeUser("agent1");
  await makeUser("member1", { role: "member" });
  const agent = (await hub.logIn("agent1")).access_token;
  const member = (await hub.logIn("member1")).access_token;
  assert.equal((await hub.call("GET /v1/users", { token: agent })).status, 200);
  assert.equal((await hub.call(`GET /v1/users/${admin.user_id}`, { token: agent })).status, 200);
  assert.equal((await hub.call("GET /v1/users", { token: member })).status, 403);
  const promotion = { token: agent, body: { role: "admin" } };
  assert.equal((await hub.call(`PATCH /v1/users/${admin.user_id}`, promotion)).status, 403);
});

test("the list is paged, newest first, and can be searched by any part of a name", async () => {
  for (const name of ["list_a", "list_b", "listxc"]) {
    hub.passTime(1);
    await makeUser(name);
  }
  const names = async (query: string) => {
    const { body } = await hub.call(`GET /v1/users?${query}`, { token });
    return { names: body.data.map((user: { username: string }) => user.username), cursor: body.next_cursor };
  };
  const first = await names("query=LIST&limit=2");
  assert.deepEqual(first.names, ["listxc", "list_b"]);
  const second = await names(`query=LIST&limit=2&cursor=${first.cursor}`);
  assert.deepEqual(second, { names: ["list_a"], cursor: null });
  assert.deepEqual((await names("query=list_")).names, ["list_b", "list_a"], "an underscore is an underscore");
  for (const wrong of ["limit=0", "limit=201", "cursor=zzz", "query=%00", "page=2"]) {
    assert.equal((await hub.call(`GET /v1/users?${wrong}`, { token })).body.error.code, "VALIDATION_ERROR", wrong);
  }
});

test("a name is found in any case, with or without accents, however its letters are composed", async () => {
  const { user_id } = await makeUser("zoe_search");
  await hub.call(`PATCH /v1/users/${user_id}`, { token, body: { display_name: "Zoë Ångström".normalize("NFD") } });
  for (const query of ["Ångström".normalize("NFC"), "ångström".normalize("NFD"), "ANGSTROM", "zoë å", "Zoe_Sea"]) {
    const { body } = await hub.call(`GET /v1/users?query=${encodeURIComponent(query)}`, { token });
    assert.deepEqual(
      body.data.map((user: { user_id: string }) => user.user_id),
      [user_id],
      query,
    );
  }
});

test("a disabled user is logged out and cannot log in until enabled again", async () => {
  const { user_id } = await makeUser("dora");
  const session = await hub.logIn("dora");
  const disabled = await hub.call(`PATCH /v1/users/${user_id}`, { token, body: { disabled: true } });
  assert.deepEqual([disabled.status, disabled.body.disabled], [200, true]);

  assert.equal((await hub.call("GET /v1/me", { token: session.access_token })).body.error.code, "AUTH_INVALID");
  const refresh = { body: { refresh_token: session.refresh_token } };
  assert.equal((await hub.call("POST /auth/refresh", refresh)).body.error.code, "AUTH_INVALID");
  const logIn = { body: { username: "dora", password: adminPassword } };
  assert.equal((await hub.call("POST /auth/token", logIn)).body.error.code, "AUTH_INVALID");

  await hub.call(`PATCH /v1/users/${user_id}`, { token, body: { disabled: false } });
  assert.equal((await hub.call("POST /auth/token", logIn)).status, 200);
  assert.equal((await hub.call("POST /auth/refresh", refresh)).status, 401, "the old session stays ended");
});

test("the last admin can be neither demoted nor disabled nor deleted", async () => {
  const path = `/v1/users/${admin.user_id}`;
  const tries = [
    await hub.call(`PATCH ${path}`, { token, body: { role: "member" } }),
    await hub.call(`PATCH ${path}`, { token, body: { disabled: true } }),
    await hub.call(`DELETE ${path}`, { token }),
  ];
  for (const { status, body } of tries) assert.deepEqual([status, body.error.code], [409, "CONFLICT"]);
  assert.equal((await hub.call(`PATCH ${path}`, { token, body: { display_name: "The Admin" } })).status, 200);
});

// Each would leave the other as the last one; both at once would leave nobody.
test("of two admins who demote each other concurrently one stays an admin", async () => {
  const second = await makeUser("second", { role: "admin" });
  const theirs = (await hub.logIn("second")).access_token;
  const body = { role: "agent" };
  await Promise.all([
    hub.call(`PATCH /v1/users/${second.user_id}`, { token, body }),
    hub.sibling(`PATCH /v1/users/${admin.user_id}`, { token: theirs, body }),
  ]);
  const { rows } = await hub.db.query("SELECT user_id FROM users WHERE role = 'admin'");
  assert.equal(rows.length, 1);
  await hub.db.query("UPDATE users SET role = 'admin' WHERE user_id = $1", [admin.user_id]);
  await hub.db.query("UPDATE users SET role = 'agent' WHERE user_id = $1", [second.user_id]);
  hub.passTime(30_000);
});

test("deleting a user frees the username and keeps the name on its messages", async () => {
  const { user_id } = await makeUser("gone", { role: "member" });
  const session = await hub.logIn("gone");
  const key = await hub.call("POST /v1/api-keys", {
    token: session.access_token,
    body: { name: "key", scopes: ["*"] },
  });

  assert.equal((await hub.call(`DELETE /v1/users/${user_id}`, { token })).status, 204);

  assert.equal((await hub.call(`GET /v1/users/${user_id}`, { token })).status, 404);
  assert.equal((await hub.call(`DELETE /v1/users/${user_id}`, { token })).status, 404);
  assert.equal((await hub.call(`PATCH /v1/users/${user_id}`, { token, body: { disabled: false } })).status, 404);
  assert.equal((await hub.call("GET /v1/me", { token: session.access_token })).status, 401);
  assert.equal((await hub.call("GET /v1/me", { token: key.body.key })).body.error.code, "API_KEY_INVALID");
  const { rows } = await hub.db.query("SELECT display_name FROM participants WHERE participant_id = $1", [user_id]);
  assert.deepEqual(rows, [{ display_name: "Deleted user" }]);
  const { rows: kept } = await hub.db.query("SELECT * FROM users WHERE user_id = $1", [user_id]);
  assert.doesNotMatch(JSON.stringify(kept), /gone|argon2/);
  await makeUser("gone");
});

test("rejects fields that an admin cannot set, by name", async () => {
  for (const field of ["user_id", "workspace_id", "password_hash", "created_at", "username", "password"]) {
    const { status, body } = await hub.call(`PATCH /v1/users/${admin.user_id}`, { token, body: { [field]: "x" } });
    assert.deepEqual([status, body.error.details.field], [400, field]);
  }
  const wrongRole = await hub.call(`PATCH /v1/users/${admin.user_id}`, { token, body: { role: "owner" } });
  assert.deepEqual([wrongRole.status, wrongRole.body.error.details.field], [400, "role"]);
  assert.equal((await hub.call("GET /v1/users/not-a-uuid", { token })).status, 400);
});
