import assert from "node:assert/strict";
import { before, test } from "node:test";
import { openClient } from "../client/src/client.ts";
import { closeAfterTests } from "../server/src/testing/close-after-tests.ts";
import { startTestHub, type TestHub } from "./src/harness.ts";

let hub: TestHub;
const opened = closeAfterTests();
before(async () => {
  hub = opened.use(await startTestHub());
});

const password = "correct horse battery staple";

test("an invited user can log in, and a forgotten password can be reset", async () => {
  const stranger = openClient({ url: hub.url });
  const invited = await hub.admin.invitations.create({ email: "eva@example.com", role: "agent" });
  assert.deepEqual(
    (await hub.admin.invitations.list()).data.map(({ invitation_id }) => invitation_id),
    [invited.invitation_id],
  );
  const { user } = await stranger.auth.acceptInvitation({ token: invited.token, username: "eva", password });
  assert.equal(user.role, "agent");
  const unwanted = await hub.admin.invitations.create({ email: "zoe@example.com", role: "member" });
  await hub.admin.invitations.revoke(unwanted.invitation_id);
  await assert.rejects(stranger.auth.acceptInvitation({ token: unwanted.token, username: "zoe", password }));

  await stranger.auth.forgotPassword("eva@example.com");
  const link = await hub.admin.users.resetPassword(user.user_id);
  await stranger.auth.resetPassword({ token: link.token, new_password: `${password}!` });
  const eva = openClient({ url: hub.url, credential: { username: "eva", password: `${password}!` } });
  await eva.auth.changePassword({ current_password: `${password}!`, new_password: password });
  assert.equal((await stranger.auth.logIn({ username: "eva", password })).user_id, user.user_id);
  assert.deepEqual(await stranger.auth.providers(), []);

  const { secret, otpauth_url } = await eva.auth.secondFactor.begin();
  assert.ok(otpauth_url.includes(secret));
  await assert.rejects(eva.auth.secondFactor.confirm("000000"), { name: "ApiError" });
  const acts = (await hub.admin.auditLog.list({ target_id: user.user_id })).data.map(({ action }) => action);
  assert.ok(acts.includes("password.reset"), acts.join());
});

test("an API key is listed with its hint, and never in full", async () => {
  const made = await hub.admin.apiKeys.create({
    name: "listed",
    scopes: ["*"],
    rate_limit: { per_second: 2, burst: 4 },
  });
  const { data } = await hub.admin.apiKeys.list();
  const listed = data.find(({ api_key_id }) => api_key_id === made.api_key_id)!;
  assert.deepEqual(listed.rate_limit, { per_second: 2, burst: 4 });
  const [beginning, end] = listed.key_hint.split("…") as [string, string];
  assert.ok(made.key.startsWith(beginning) && made.key.endsWith(end));
  assert.ok(!("key" in listed));
});
