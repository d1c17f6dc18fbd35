/** What a credential made ends with it: a thief who had one for a while keeps nothing. */
import assert from "node:assert/strict";
import { before, beforeEach, test } from "node:test";
import { closeAfterTests } from "../testing/close-after-tests.ts";
import { type LogInHub, startLogInHub } from "../testing/log-in-hub.ts";

let hub: LogInHub;
let owner: string;
const opened = closeAfterTests();
before(async () => {
  hub = opened.use(await startLogInHub());
});
beforeEach(async () => {
  owner = (await hub.logIn("admin")).access_token;
});

const old = "the old password";
const fresh = "a fresh password";
let count = 0;

/** Another admin, whose account a thief uses too. */
async function newAdmin() {
  const user = await hub.register(old);
  await hub.call(`PATCH /v1/users/${user.userId}`, { token: owner, body: { role: "admin" } });
  return { ...user, token: (await hub.logIn(user.username, old)).access_token as string };
}

async function invite(by: string, more: object = {}): Promise<string> {
  count += 1;
  const body = { email: `invited${count}@example.com`, role: "member", ...more };
  const { status, body: made } = await hub.call("POST /v1/invitations", { token: by, body });
  assert.equal(status, 201, JSON.stringify(made));
  return made.token;
}

async function accepts(token: string): Promise<boolean> {
  count += 1;
  const body = { token, username: `invited${count}`, password: old };
  return (await hub.call("POST /auth/invitations/accept", { body })).status === 201;
}

async function makeReset(by: string, userId: string): Promise<string> {
  const { status, body } = await hub.call(`POST /v1/users/${userId}/password-reset`, { token: by });
  assert.equal(status, 201, JSON.stringify(body));
  return body.token;
}

const reset = (token: string, more: object = {}) =>
  hub.call("POST /auth/password/reset", { body: { token, new_password: fresh, ...more } });

const resets = async (token: string) => (await reset(token)).status === 204;

function changePassword(token: string, from: string, to: string, more: object = {}) {
  return hub.call("POST /v1/me/password", { token, body: { current_password: from, new_password: to, ...more } });
}

/** An invitation and a password reset. */
async function makeBoth(by: string) {
  const target = await hub.register(old);
  return { invitation: await invite(by), reset: await makeReset(by, target.userId) };
}

async function workBoth(made: { invitation: string; reset: string }): Promise<[boolean, boolean]> {
  return [await accepts(made.invitation), await resets(made.reset)];
}

/** A row alone: these routes are not part of this hub. */
async function makeEndpoint(userId: string, ageMs: number): Promise<string> {
  const { rows } = await hub.db.query(
    `INSERT INTO webhook_endpoints (webhook_endpoint_id, workspace_id, url, events, is_ordered, status, starts_after,
       secret_sealed, created_at, made_by, made_at)
     SELECT gen_random_uuid(), workspace_id, 'https://example.com', '{*}', false, 'enabled', 0, '', $2, user_id, $2
       FROM users WHERE user_id = $1 RETURNING webhook_endpoint_id`,
    [userId, new Date(hub.clock.now() - ageMs)],
  );
  return rows[0].webhook_endpoint_id;
}

async function isAuthorized(endpointId: string): Promise<boolean> {
  const text = "SELECT is_authorized FROM webhook_endpoints WHERE webhook_endpoint_id = $1";
  return (await hub.db.query(text, [endpointId])).rows[0].is_authorized;
}

async function lastRecord(action: string) {
  const { body } = await hub.call(`GET /v1/audit-log?action=${action}&limit=1`, { token: owner });
  return body.data[0].details;
}

test("invitations and password resets end with the API key that made them", async () => {
  const parent = await hub.makeApiKey(owner);
  const child = await hub.makeApiKey(parent.key, { scopes: ["users:write"] });
  const expiring = await hub.makeApiKey(owner, { expires_at: new Date(hub.clock.now() + 60_000).toISOString() });
  const kept = await hub.makeApiKey(owner);
  const [byChild, byExpiring, byKept] = [
    await makeBoth(child.key),
    await makeBoth(expiring.key),
    await makeBoth(kept.key),
  ];
  await hub.call(`DELETE /v1/api-keys/${parent.api_key_id}`, { token: owner });
  hub.passTime(60_000);
  assert.deepEqual(await workBoth(byChild), [false, false], "the key above was revoked");
  assert.deepEqual(await workBoth(byExpiring), [false, false], "the key has expired");
  assert.deepEqual(await workBoth(byKept), [true, true]);
});

test("the list of invitations names the user and the API key that made each", async () => {
  const key = await hub.makeApiKey(owner);
  await invite(key.key);
  const { body } = await hub.call("GET /v1/invitations?limit=1", { token: owner });
  assert.equal(body.data[0].made_by_key_id, key.api_key_id);
  await invite(owner);
  const { body: later } = await hub.call("GET /v1/invitations?limit=1", { token: owner });
  assert.equal(later.data[0].made_by_key_id, null);
});

test("a password change ends the invitations and resets that its user made since keys were last revoked", async () => {
  const admin = await newAdmin();
  const stolen = (await hub.logIn(admin.username, old)).access_token;
  const made = await makeBoth(stolen);
  assert.equal((await changePassword(admin.token, old, fresh)).status, 204);
  assert.deepEqual(await workBoth(made), [false, false]);
  assert.deepEqual(await lastRecord("password.changed"), {
    sessions: 2,
    api_keys: 0,
    invitations: 1,
    password_resets: 1,
    webhook_endpoints: 0,
  });
});

test("logging out everywhere ends the invitations and resets made since the date that is given for keys", async () => {
  const admin = await newAdmin();
  const older = await makeBoth(admin.token);
  hub.passTime(1_000);
  const since = new Date(hub.clock.now()).toISOString();
  const newer = await makeBoth(admin.token);
  const body = { revoke_api_keys_since: since };
  assert.equal((await hub.call("POST /auth/logout-everywhere", { token: admin.token, body })).status, 204);
  assert.deepEqual(await workBoth(newer), [false, false]);
  assert.deepEqual(await workBoth(older), [true, true]);
});

test("a password reset ends everything that its user made, unless a date is given", async () => {
  const admin = await newAdmin();
  const made = await makeBoth(admin.token);
  const key = await hub.makeApiKey(admin.token);
  hub.passTime(1_000);
  const since = new Date(hub.clock.now()).toISOString();
  const kept = await reset(await makeReset(owner, admin.userId), { revoke_api_keys_since: since });
  assert.equal(kept.status, 204);
  assert.deepEqual([await hub.isLive(key.key), await accepts(made.invitation)], [true, true]);
  const { access_token: later } = await hub.logIn(admin.username, fresh);
  const laterInvitation = await invite(later);
  assert.equal(await resets(await makeReset(owner, admin.userId)), true);
  assert.deepEqual(
    [await hub.isLive(key.key), await accepts(laterInvitation), await resets(made.reset)],
    [false, false, false],
  );
});

test("a password change, a reset and a logout everywhere end the webhook endpoints made since their date", async () => {
  type Admin = Awaited<ReturnType<typeof newAdmin>>;
  const since = () => new Date(hub.clock.now() - 1_000).toISOString();
  const endings: Record<string, [end: (admin: Admin) => Promise<{ status: number }>, older: boolean]> = {
    change: [({ token }) => changePassword(token, old, fresh, { revoke_api_keys_since: since() }), true],
    logout: [
      ({ token }) => hub.call("POST /auth/logout-everywhere", { token, body: { revoke_api_keys_since: since() } }),
      true,
    ],
    "change by default": [({ token }) => changePassword(token, old, fresh), false],
    reset: [async ({ userId }) => reset(await makeReset(owner, userId)), false],
    "change that ends nothing": [
      ({ token }) => changePassword(token, old, fresh, { revoke_api_keys_since: null }),
      true,
    ],
  };
  for (const [name, [end, isOlderKept]] of Object.entries(endings)) {
    const admin = await newAdmin();
    hub.passTime(10_000);
    const [older, newer] = [await makeEndpoint(admin.userId, 5_000), await makeEndpoint(admin.userId, 0)];
    const ofAnother = await makeEndpoint((await newAdmin()).userId, 0);
    assert.equal((await end(admin)).status, 204, name);
    const isNewerKept = name === "change that ends nothing";
    assert.deepEqual(
      [await isAuthorized(older), await isAuthorized(newer), await isAuthorized(ofAnother)],
      [isOlderKept, isNewerKept, true],
      name,
    );
  }
});

test("a thief who changes the password does not protect a key from the reset of the owner", async () => {
  const user = await hub.register(old);
  const stolen = (await hub.logIn(user.username, old)).access_token;
  const { key } = await hub.makeApiKey(stolen);
  hub.passTime(1_000);
  assert.equal((await changePassword(stolen, old, fresh, { revoke_api_keys_since: null })).status, 204);
  hub.passTime(1_000);
  assert.equal(await resets(await makeReset(owner, user.userId)), true);
  assert.equal(await hub.isLive(key), false);
});

test("a thief who changes the password and changes it back does not protect a key from the owner's next change", async () => {
  for (const since of [null, () => new Date(hub.clock.now()).toISOString()]) {
    const user = await hub.register(old);
    const stolen = (await hub.logIn(user.username, old)).access_token;
    const { key } = await hub.makeApiKey(stolen);
    hub.passTime(1_000);
    const quietly = { revoke_sessions: false, revoke_api_keys_since: since === null ? null : since() };
    await changePassword(stolen, old, fresh, quietly);
    hub.passTime(1_000);
    await changePassword(stolen, fresh, old, quietly);
    hub.passTime(1_000);
    assert.equal((await changePassword(user.token, old, fresh)).status, 204);
    assert.equal(await hub.isLive(key), false);
  }
});

test("a key that is being made while the password changes counts as made after the change", async () => {
  const user = await hub.register(old);
  hub.passTime(1_000);
  const [changed, made] = await hub.meet(
    () => changePassword(user.token, old, fresh),
    () => {
      // The request began when the clock stood earlier than at the change.
      hub.passTime(-500);
      return hub.call("POST /v1/api-keys", { token: user.token, body: { name: "late", scopes: ["*"] } });
    },
  );
  assert.deepEqual([changed.status, made.status], [204, 201]);
  hub.passTime(1_500);
  assert.equal((await changePassword(user.token, fresh, old)).status, 204);
  assert.equal(await hub.isLive(made.body.key), false);
});

test("a session that ends while it invites leaves no invitation behind", async () => {
  const admin = await newAdmin();
  const ending = () =>
    hub.call("POST /auth/logout-everywhere", {
      token: admin.token,
      body: { revoke_api_keys_since: "2026-01-01T00:00:00Z" },
    });
  const inviting = () =>
    hub.call("POST /v1/invitations", { token: admin.token, body: { email: "late@example.com", role: "admin" } });
  const [ended, refused] = await hub.meet(ending, inviting);
  assert.deepEqual([ended.status, refused.status], [204, 401]);
});

// Otherwise the reset would outlive the change of role that ends all others.
test("a key with limited scopes makes no reset for a member who becomes an admin meanwhile", async () => {
  const member = await hub.register(old);
  const { key } = await hub.makeApiKey(owner, { scopes: ["users:write"] });
  const promote = () => hub.call(`PATCH /v1/users/${member.userId}`, { token: owner, body: { role: "admin" } });
  const [promoted, refused] = await hub.meet(promote, () =>
    hub.call(`POST /v1/users/${member.userId}/password-reset`, { token: key }),
  );
  assert.deepEqual([promoted.status, refused.status], [200, 403]);
});
