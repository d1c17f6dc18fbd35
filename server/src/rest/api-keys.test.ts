import assert from "node:assert/strict";
import { before, test } from "node:test";
import { closeAfterTests } from "../testing/close-after-tests.ts";
import { type IdentityHub, startIdentityHub } from "../testing/identity-hub.ts";

let hub: IdentityHub;
let admin: string;
let member: string;
const opened = closeAfterTests();
before(async () => {
  hub = opened.use(await startIdentityHub());
  admin = (await hub.logIn("admin")).access_token;
  member = (await hub.register()).token;
});

const makeKey = (token: string, body: object = {}) =>
  hub.call("POST /v1/api-keys", { token, body: { name: "test", scopes: ["*"], ...body } });

test("a key is shown once, works at once, and is stored as a hash", async () => {
  const { status, body } = await makeKey(admin);
  assert.equal(status, 201);
  assert.match(body.key, /^c4a_[\w-]{43}$/);
  assert.deepEqual([body.scopes, body.expires_at, body.last_used_at], [["*"], null, null]);

  const me = await hub.call("GET /v1/me", { token: body.key });
  assert.equal(me.body.username, "admin");
  const list = await hub.call("GET /v1/api-keys", { token: admin });
  assert.ok(!JSON.stringify(list.body).includes(body.key));
  const { rows } = await hub.db.query("SELECT * FROM api_keys");
  assert.ok(!JSON.stringify(rows).includes(body.key));
});

test("GET /v1/me shows a key with its user and scopes, and shows a session as a session", async () => {
  const { body: made } = await makeKey(admin, { scopes: ["messages:read", "events:read"] });
  const { body: me } = await hub.call("GET /v1/me", { token: made.key });
  const { key, ...shown } = made;
  assert.equal(me.username, "admin");
  assert.deepEqual(me.credential, {
    kind: "api_key",
    scopes: ["messages:read", "events:read"],
    api_key: { ...shown, last_used_at: me.credential.api_key.last_used_at },
  });
  assert.ok(!JSON.stringify(me).includes(key));
  const { body: session } = await hub.call("GET /v1/me", { token: admin });
  assert.deepEqual(session.credential, { kind: "session", scopes: ["*"], api_key: null });
});

test("a key can do what its scopes allow and no more", async () => {
  const { body } = await makeKey(admin, { scopes: ["users:read"] });
  assert.equal((await hub.call("GET /v1/users", { token: body.key })).status, 200);
  const refused = await hub.call("GET /v1/api-keys", { token: body.key });
  assert.deepEqual([refused.status, refused.body.error.code], [403, "FORBIDDEN"]);
});

test("a key cannot create a key with more rights", async () => {
  const { body: weak } = await makeKey(admin, { scopes: ["api-keys:write", "users:read"] });
  assert.equal((await makeKey(weak.key)).status, 403);
  assert.equal((await makeKey(weak.key, { scopes: ["messages:write"] })).status, 403);
  assert.equal((await makeKey(weak.key, { scopes: ["users:read"] })).status, 201);
});

test("a key that expires cannot create a key that expires later", async () => {
  const inHours = (hours: number) => new Date(hub.clock.now() + hours * 3_600_000).toISOString();
  const { body: brief } = await makeKey(admin, { expires_at: inHours(1) });
  assert.equal((await makeKey(brief.key)).status, 403);
  assert.equal((await makeKey(brief.key, { expires_at: inHours(2) })).status, 403);
  assert.equal((await makeKey(brief.key, { expires_at: inHours(1) })).status, 201);
});

test("a key with limited scopes can add members only", async () => {
  const [{ body: some }, { body: all }] = [await makeKey(admin, { scopes: ["users:write"] }), await makeKey(admin)];
  const make = (key: string, role: string) => {
    const username = `${role}-${Math.random().toString(36).slice(2)}`;
    const body = { username, email: `${username}@example.com`, password: "a long enough one", role };
    return hub.call("POST /v1/users", { token: key, body });
  };
  for (const role of ["agent", "admin"]) assert.equal((await make(some.key, role)).status, 403, role);
  assert.equal((await make(all.key, "agent")).status, 201);
  const made = await make(some.key, "member");
  assert.equal(made.status, 201);
  const promote = (key: string, role: string) =>
    hub.call(`PATCH /v1/users/${made.body.user_id}`, { token: key, body: { role } });
  assert.equal((await promote(some.key, "admin")).status, 403);
  assert.equal((await promote(all.key, "agent")).status, 200);
  // The user has a higher role now, so the key cannot change them.
  assert.equal((await promote(some.key, "member")).status, 403);
  assert.equal((await promote(all.key, "member")).status, 200);
  assert.equal((await promote(some.key, "member")).status, 200);
});

test("a key can have its own rate limit, which also applies to the keys that it creates", async () => {
  const rate_limit = { per_second: 0.5, burst: 10 };
  const { status, body } = await makeKey(admin, { rate_limit });
  assert.deepEqual([status, body.rate_limit], [201, rate_limit]);
  const list = await hub.call("GET /v1/api-keys", { token: admin });
  assert.deepEqual(list.body.data[0].rate_limit, rate_limit);
  const principal = await hub.authenticate(`Bearer ${body.key}`);
  assert.deepEqual(principal.rateLimit, { perSecond: 0.5, burst: 10 });

  assert.equal((await makeKey(body.key, { rate_limit: { per_second: 0.6, burst: 10 } })).status, 403);
  assert.equal((await makeKey(body.key, { rate_limit: { per_second: 0.5, burst: 11 } })).status, 403);
  assert.equal((await makeKey(body.key, { rate_limit: { per_second: 0.5, burst: 10 } })).status, 201);
  // A key without its own limit shares the limit of the key that made it.
  const { body: child } = await makeKey(body.key);
  const shared = await hub.authenticate(`Bearer ${child.key}`);
  assert.deepEqual(shared.ancestors, [{ apiKeyId: body.api_key_id, rateLimit: { perSecond: 0.5, burst: 10 } }]);

  const { body: unlimited } = await makeKey(admin, { rate_limit: null });
  assert.equal(unlimited.rate_limit, null);
  assert.equal((await hub.authenticate(`Bearer ${unlimited.key}`)).rateLimit, null);
});

test("a member's key has no more rights than the member", async () => {
  const { body } = await makeKey(member);
  assert.equal((await hub.call("GET /v1/users", { token: body.key })).status, 403);
});

test("rejects unknown scopes, an expiry in the past and a missing name, and names the field", async () => {
  const refused: [object, string][] = [
    [{ scopes: ["messages:shout"] }, "scopes.0"],
    [{ scopes: [] }, "scopes"],
    // A key gets all scopes only when the request says so.
    [{ scopes: undefined }, "scopes"],
    [{ expires_at: new Date(hub.clock.now()).toISOString() }, "expires_at"],
    [{ expires_at: "tomorrow" }, "expires_at"],
    [{ name: " " }, "name"],
    [{ rate_limit: { per_second: 0, burst: 1 } }, "rate_limit.per_second"],
    [{ rate_limit: { per_second: 1, burst: 0.5 } }, "rate_limit.burst"],
    [{ rate_limit: { per_second: 1 } }, "rate_limit.burst"],
    [{ rate_limit: { per_second: 1, burst: 1, per_minute: 60 } }, "rate_limit.per_minute"],
    [{ name: "nul\u0000" }, "name"],
    [{ key: "c4a_mine" }, "key"],
    [{ workspace_id: "x" }, "workspace_id"],
  ];
  for (const [wrong, field] of refused) {
    const { status, body } = await makeKey(admin, wrong);
    assert.deepEqual([status, body.error.code, body.error.details.field], [400, "VALIDATION_ERROR", field]);
  }
});

test("an expired key gets API_KEY_INVALID", async () => {
  const { body } = await makeKey(admin, { expires_at: new Date(hub.clock.now() + 1000).toISOString() });
  assert.equal((await hub.call("GET /v1/me", { token: body.key })).status, 200);
  hub.passTime(1000);
  const expired = await hub.call("GET /v1/me", { token: body.key });
  assert.deepEqual([expired.status, expired.body.error.code], [401, "API_KEY_INVALID"]);
});

test("users see and revoke their own keys, admins all keys of the workspace", async () => {
  const { body: theirs } = await makeKey(admin, { name: "the admin's" });
  const { body: own } = await makeKey(member, { name: "the member's" });
  const names = async (token: string) => {
    const { body } = await hub.call("GET /v1/api-keys?limit=200", { token });
    return body.data.map(({ name }: { name: string }) => name);
  };
  assert.ok(!(await names(member)).includes("the admin's"));
  assert.ok((await names(admin)).includes("the member's"));

  const refused = await hub.call(`DELETE /v1/api-keys/${theirs.api_key_id}`, { token: member });
  assert.deepEqual([refused.status, refused.body.error.code], [404, "RESOURCE_NOT_FOUND"]);
  assert.equal((await hub.call("GET /v1/me", { token: own.key })).status, 200);
  assert.equal((await hub.call(`DELETE /v1/api-keys/${own.api_key_id}`, { token: admin })).status, 204);
  assert.equal((await hub.call("GET /v1/me", { token: own.key })).body.error.code, "API_KEY_INVALID");
  assert.equal((await hub.call(`DELETE /v1/api-keys/${own.api_key_id}`, { token: admin })).status, 404);
});

test("an API key has no session to log out of", async () => {
  const { body } = await makeKey(admin);
  assert.equal((await hub.call("POST /auth/logout", { token: body.key })).status, 403);
});
