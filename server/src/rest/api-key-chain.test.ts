import assert from "node:assert/strict";
import { before, test } from "node:test";
import { maxKeyChain } from "../credentials/credentials.ts";
import { closeAfterTests } from "../testing/close-after-tests.ts";
import { type IdentityHub, startIdentityHub } from "../testing/identity-hub.ts";

let hub: IdentityHub;
let admin: string;
const opened = closeAfterTests();
before(async () => {
  hub = opened.use(await startIdentityHub());
  admin = (await hub.logIn("admin")).access_token;
});

const inHours = (hours: number) => new Date(hub.clock.now() + hours * 3_600_000).toISOString();

const makeKey = (token: string, body: object = {}) => hub.makeApiKey(token, body);

const statusOf = async (key: string, call = hub.call) => (await call("GET /v1/me", { token: key })).status;

/** A key, the key that it made, and the key that this one made. */
async function makeChain(token: string, body: object = {}) {
  const first = await makeKey(token, body);
  const second = await makeKey(first.key, body);
  const third = await makeKey(second.key, body);
  return [first, second, third] as const;
}

test("a key names the key that made it", async () => {
  const [first, second, third] = await makeChain(admin);
  assert.deepEqual([first.parent_id, second.parent_id, third.parent_id], [null, first.api_key_id, second.api_key_id]);
  const { body } = await hub.call("GET /v1/api-keys?limit=3", { token: admin });
  assert.deepEqual(
    body.data.map((key: { parent_id: string | null }) => key.parent_id),
    [second.api_key_id, first.api_key_id, null],
  );
});

test("revoking a key ends the keys made by it, in every process", async () => {
  const [first, second, third] = await makeChain(admin);
  const bystander = await makeKey(admin);
  for (const { key } of [first, second, third, bystander]) assert.equal(await statusOf(key), 200);
  await hub.call(`DELETE /v1/api-keys/${first.api_key_id}`, { token: admin });
  for (const { key } of [first, second, third]) {
    assert.equal(await statusOf(key), 401);
    assert.equal(await statusOf(key, hub.sibling), 401);
  }
  assert.equal(await statusOf(bystander.key), 200);
  const { body } = await hub.call("GET /v1/api-keys", { token: admin });
  const listed = body.data.map((key: { api_key_id: string }) => key.api_key_id);
  for (const { api_key_id } of [first, second, third]) assert.ok(!listed.includes(api_key_id));
});

test("revoking a key in the middle leaves the one that made it", async () => {
  const [first, second, third] = await makeChain(admin);
  await hub.call(`DELETE /v1/api-keys/${second.api_key_id}`, { token: admin });
  assert.deepEqual([await statusOf(first.key), await statusOf(second.key), await statusOf(third.key)], [200, 401, 401]);
});

test("a key ends when the first of its chain expires, even if its own row has no end", async () => {
  const [first, second, third] = await makeChain(admin, { expires_at: inHours(1) });
  // As an earlier version of the hub, or an edit in the database, may have left it.
  await hub.db.query("UPDATE api_keys SET expires_at = NULL WHERE api_key_id = ANY ($1)", [
    [second.api_key_id, third.api_key_id],
  ]);
  assert.equal(await statusOf(third.key), 200);
  hub.passTime(3_600_000);
  for (const { key } of [first, second, third]) assert.equal(await statusOf(key), 401);
  admin = (await hub.logIn("admin")).access_token;
});

test("disabling the user who made the first key ends the whole chain", async () => {
  const creator = await hub.register();
  const chain = await makeChain(creator.token);
  for (const { key } of chain) assert.equal(await statusOf(key), 200);
  await hub.call(`PATCH /v1/users/${creator.userId}`, { token: admin, body: { disabled: true } });
  for (const { key } of chain) assert.equal(await statusOf(key), 401);
});

test("a chain of keys has a maximum length", async () => {
  let token = admin;
  for (let made = 0; made < maxKeyChain; made += 1) token = (await makeKey(token)).key;
  const refused = await hub.call("POST /v1/api-keys", { token, body: { name: "one more", scopes: ["*"] } });
  assert.deepEqual([refused.status, refused.body.error.code], [403, "FORBIDDEN"]);
});

test("a key that is revoked while it makes another leaves no live key behind", async () => {
  const making =
    ({ key }: { key: string }) =>
    () =>
      hub.call("POST /v1/api-keys", { token: key, body: { name: "late", scopes: ["*"] } });
  const revoking =
    ({ api_key_id }: { api_key_id: string }) =>
    () =>
      hub.call(`DELETE /v1/api-keys/${api_key_id}`, { token: admin });
  const [one, other] = [await makeKey(admin), await makeKey(admin)];
  const [made, revokedAfter] = await hub.meet(making(one), revoking(one));
  assert.deepEqual([made.status, revokedAfter.status], [201, 204]);
  assert.equal(await statusOf(made.body.key), 401);
  const [revokedBefore, refused] = await hub.meet(revoking(other), making(other));
  assert.deepEqual([revokedBefore.status, refused.status], [204, 401]);
});

test("a key that is being made by a key of the chain while the first one is revoked is revoked too", async () => {
  const root = await hub.makeApiKey(admin);
  const child = await hub.makeApiKey(root.key);
  const [made, revoked] = await hub.meet(
    () => hub.call("POST /v1/api-keys", { token: child.key, body: { name: "late", scopes: ["*"] } }),
    () => hub.call(`DELETE /v1/api-keys/${root.api_key_id}`, { token: admin }),
  );
  assert.deepEqual([made.status, revoked.status], [201, 204]);
  assert.equal(await hub.isLive(made.body.key), false);
  const { body } = await hub.call("GET /v1/api-keys?limit=200", { token: admin });
  const listed = body.data.map(({ api_key_id }: { api_key_id: string }) => api_key_id);
  assert.equal(listed.includes(made.body.api_key_id), false);
});
