import assert from "node:assert/strict";
import { before, beforeEach, test } from "node:test";
import { closeAfterTests } from "../testing/close-after-tests.ts";
import { type LogInHub, startLogInHub } from "../testing/log-in-hub.ts";

let hub: LogInHub;
let admin: string;
const opened = closeAfterTests();
before(async () => {
  hub = opened.use(await startLogInHub());
});
beforeEach(async () => {
  admin = (await hub.logIn("admin")).access_token;
});

const old = "the old password";
const fresh = "a fresh password";
const nothing = { sessions: 0, api_keys: 0, invitations: 0, password_resets: 0, webhook_endpoints: 0 };

const register = () => hub.register(old);

async function makeKey(token: string): Promise<string> {
  hub.passTime(1_000);
  const { key } = await hub.makeApiKey(token);
  hub.passTime(1_000);
  return key;
}

const isLive: LogInHub["isLive"] = (...asked) => hub.isLive(...asked);
const now = () => new Date(hub.clock.now()).toISOString();

async function newReset(userId: string): Promise<string> {
  return (await hub.call(`POST /v1/users/${userId}/password-reset`, { token: admin })).body.token;
}

const reset = (token: string, more: object = {}) =>
  hub.call("POST /auth/password/reset", { body: { token, new_password: fresh, ...more } });

async function lastRecord(action: string) {
  const { body } = await hub.call(`GET /v1/audit-log?action=${action}&limit=1`, { token: admin });
  return body.data[0].details;
}

test("a password change revokes keys made since they were last revoked, and the audit log says so", async () => {
  const user = await register();
  const { access_token: other } = await hub.logIn(user.username, old);
  const stolen = await makeKey(user.token);
  const child = await makeKey(stolen);
  const change = { current_password: old, new_password: fresh };
  assert.equal((await hub.call("POST /v1/me/password", { token: user.token, body: change })).status, 204);
  for (const token of [other, stolen, child]) {
    assert.deepEqual([await isLive(token), await isLive(token, hub.sibling)], [false, false]);
  }
  assert.equal(await isLive(user.token), true);
  assert.deepEqual(await lastRecord("password.changed"), { ...nothing, sessions: 1, api_keys: 2 });

  const key = await makeKey(user.token);
  const again = { current_password: fresh, new_password: old, revoke_api_keys_since: null };
  await hub.call("POST /v1/me/password", { token: user.token, body: again });
  assert.equal(await isLive(key), true, "null revokes none");
  await hub.call("POST /v1/me/password", { token: user.token, body: change });
  assert.equal(await isLive(key), false, "a change that revokes none does not count");
});

test("a password change can keep sessions, and revoke keys since a given time", async () => {
  const user = await register();
  const { access_token: other } = await hub.logIn(user.username, old);
  const older = await makeKey(user.token);
  const since = now();
  const newer = await makeKey(user.token);
  const body = {
    current_password: old,
    new_password: fresh,
    revoke_sessions: false,
    revoke_api_keys_since: since,
  };
  assert.equal((await hub.call("POST /v1/me/password", { token: user.token, body })).status, 204);
  assert.deepEqual([await isLive(other), await isLive(older), await isLive(newer)], [true, true, false]);
});

test("a password reset revokes sessions and keys, unless its body says otherwise", async () => {
  const user = await register();
  const key = await makeKey(user.token);
  const kept = await reset(await newReset(user.userId), { revoke_sessions: false, revoke_api_keys_since: null });
  assert.equal(kept.status, 204);
  assert.deepEqual([await isLive(user.token), await isLive(key)], [true, true]);
  const newer = await makeKey(user.token);
  assert.equal((await reset(await newReset(user.userId))).status, 204);
  assert.deepEqual([await isLive(user.token), await isLive(newer), await isLive(key)], [false, false, false]);
  assert.deepEqual(await lastRecord("password.reset"), { ...nothing, sessions: 1, api_keys: 2 });
});

test("logging out everywhere ends all sessions, and keys when asked to", async () => {
  const user = await register();
  const { access_token: other } = await hub.logIn(user.username, old);
  const key = await makeKey(user.token);
  assert.equal((await hub.call("POST /auth/logout-everywhere", { token: user.token })).status, 204);
  assert.deepEqual([await isLive(user.token), await isLive(other), await isLive(key)], [false, false, true]);
  assert.equal(await isLive(other, hub.sibling), false);
  assert.deepEqual(await lastRecord("session.all_ended"), { ...nothing, sessions: 2 });

  const { access_token: token } = await hub.logIn(user.username, old);
  const body = { revoke_api_keys_since: "2026-01-01T00:00:00Z" };
  assert.equal((await hub.call("POST /auth/logout-everywhere", { token, body })).status, 204);
  assert.deepEqual([await isLive(token), await isLive(key)], [false, false]);
  assert.equal(await isLive(admin), true, "other users are not logged out");
  const byKey = await makeKey(admin);
  assert.equal((await hub.call("POST /auth/logout-everywhere", { token: byKey })).status, 403);
});

test("a session that ends while it makes a key leaves no live key behind", async () => {
  const making = (token: string) => () =>
    hub.call("POST /v1/api-keys", { token, body: { name: "late", scopes: ["*"] } });
  const ending = (token: string) => () => {
    const body = { revoke_api_keys_since: "2026-01-01T00:00:00Z" };
    return hub.call("POST /auth/logout-everywhere", { token, body });
  };
  const [one, other] = [await register(), await register()];
  const [made, endedAfter] = await hub.meet(making(one.token), ending(one.token));
  assert.deepEqual([made.status, endedAfter.status], [201, 204]);
  assert.equal(await isLive(made.body.key), false);
  const [endedBefore, refused] = await hub.meet(ending(other.token), making(other.token));
  assert.deepEqual([endedBefore.status, refused.status], [204, 401]);
});

test("a reset token ends when its user's role, email address or disabled state changes", async () => {
  const changes: [string, (userId: string) => Promise<unknown>][] = [
    ["role", (id) => hub.call(`PATCH /v1/users/${id}`, { token: admin, body: { role: "agent" } })],
    [
      "disabled and enabled again",
      async (id) => {
        for (const disabled of [true, false]) {
          await hub.call(`PATCH /v1/users/${id}`, { token: admin, body: { disabled } });
        }
      },
    ],
    ["email", (id) => hub.db.query("UPDATE users SET email = $2 WHERE user_id = $1", [id, `${id}@example.com`])],
  ];
  for (const [name, change] of changes) {
    const { userId } = await register();
    const token = await newReset(userId);
    await change(userId);
    const { status, body } = await reset(token);
    assert.deepEqual([status, body.error.code], [401, "AUTH_INVALID"], name);
  }
  const { userId } = await register();
  const token = await newReset(userId);
  await hub.call(`PATCH /v1/users/${userId}`, { token: admin, body: { display_name: "Another", role: "member" } });
  assert.equal((await reset(token)).status, 204, "a change of anything else keeps the token");
});
