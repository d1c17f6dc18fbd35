import assert from "node:assert/strict";
import { before, test } from "node:test";
import { closeAfterTests } from "../testing/close-after-tests.ts";
import { type LogInHub, publicUrl, startLogInHub } from "../testing/log-in-hub.ts";
import { startTestSmtp } from "../testing/test-smtp.ts";

let hub: LogInHub;
let token: string;
const opened = closeAfterTests();
before(async () => {
  hub = opened.use(await startLogInHub({ registration: "closed" }));
  token = (await hub.logIn("admin")).access_token;
});

let count = 0;
async function invite(more: Record<string, unknown> = {}, by = token) {
  count += 1;
  const body = { email: `guest${count}@example.com`, role: "agent", ...more };
  return hub.call("POST /v1/invitations", { token: by, body });
}

function accept(invitationToken: string, more: Record<string, unknown> = {}) {
  count += 1;
  const body = { token: invitationToken, username: `guest${count}`, password: "a long enough one", ...more };
  return hub.call("POST /auth/invitations/accept", { body });
}

test("accepting an invitation creates a user with its email address and role, also where registration is closed", async () => {
  const { status, body } = await invite({ email: "ana@example.com" });
  assert.equal(status, 201);
  const { token: secret, url, expires_at, created_at, invitation_id, invited_by, made_by_key_id, ...rest } = body;
  assert.deepEqual(rest, { email: "ana@example.com", role: "agent", mailed: false });
  assert.match(secret, /^c4i_[\w-]{43}$/);
  assert.equal(url, `${publicUrl}/accept-invitation#token=${secret}`);
  assert.equal(Date.parse(expires_at) - Date.parse(created_at), 7 * 86_400_000);

  const accepted = await accept(secret, { username: "Ana", display_name: "Ana Lima" });

  assert.equal(accepted.status, 201);
  const { user, access_token } = accepted.body;
  assert.deepEqual([user.email, user.role, user.display_name], ["ana@example.com", "agent", "Ana Lima"]);
  assert.equal((await hub.call("GET /v1/me", { token: access_token })).body.user_id, user.user_id);
  assert.equal((await accept(secret)).body.error.code, "AUTH_INVALID", "a second time");
});

test("open invitations can be listed and revoked, and their tokens are neither listed nor stored", async () => {
  const { body } = await invite();
  const listed = await hub.call("GET /v1/invitations", { token });
  const found = listed.body.data.find((each: { invitation_id: string }) => each.invitation_id === body.invitation_id);
  assert.deepEqual(Object.keys(found).sort(), [
    "created_at",
    "email",
    "expires_at",
    "invitation_id",
    "invited_by",
    "made_by_key_id",
    "role",
  ]);
  const { rows } = await hub.db.query("SELECT row_to_json(i)::text AS row FROM invitations i");
  assert.ok(rows.every(({ row }) => !row.includes(body.token)));

  assert.equal((await hub.call(`DELETE /v1/invitations/${body.invitation_id}`, { token })).status, 204);

  assert.equal((await accept(body.token)).status, 401);
  assert.equal((await hub.call(`DELETE /v1/invitations/${body.invitation_id}`, { token })).status, 404);
  const after = await hub.call("GET /v1/invitations", { token });
  assert.ok(!JSON.stringify(after.body).includes(body.invitation_id));
});

test("an invitation expires after a week, or when it says", async () => {
  const week = (await invite()).body;
  const minute = (await invite({ expires_in: 60 })).body;
  hub.passTime(60_000);
  token = (await hub.logIn("admin")).access_token;
  assert.equal((await accept(minute.token)).status, 401);
  assert.equal((await accept(week.token)).status, 201);
  for (const expires_in of [59, 31 * 86_400, 1.5, "60"]) {
    assert.equal((await invite({ expires_in })).status, 400);
  }
});

test("a taken username leaves the invitation as it was, and of twenty acceptances at once one makes a user", async () => {
  const { body } = await invite();
  assert.deepEqual([(await accept(body.token, { username: "ADMIN" })).status], [409]);
  const answers = await Promise.all(Array.from({ length: 20 }, () => accept(body.token)));
  // Ten may wait for hashing; the others get 503.
  const counts = { 201: 0, 401: 0, 503: 0, ...countsOf(answers.map(({ status }) => status)) };
  assert.deepEqual([counts[201], counts[401] + counts[503]], [1, 19]);
  assert.ok(counts[401] >= 9, JSON.stringify(counts));
  assert.equal((await accept(body.token)).status, 401);
});

test("rejects the email address of an existing user, and read-only fields", async () => {
  const { body } = await invite();
  await accept(body.token);
  assert.equal((await invite({ email: body.email.toUpperCase() })).status, 409);
  const open = (await invite()).body;
  for (const extra of [{ role: "admin" }, { email: "x@example.com" }, { workspace_id: "x" }]) {
    assert.equal((await accept(open.token, extra)).status, 400);
  }
});

// An admin who expects to be locked out invites themselves first.
test("an invitation ends with the rights of the admin who made it", async () => {
  for (const change of [{ disabled: true }, { role: "agent" }]) {
    const { body: leaving } = await accept((await invite({ role: "admin" })).body.token);
    const { body } = await invite({ role: "admin" }, leaving.access_token);
    await hub.call(`PATCH /v1/users/${leaving.user.user_id}`, { token, body: change });
    assert.equal((await accept(body.token)).status, 401);
  }
});

test("only admins can invite, and the invitations of another workspace are not visible", async () => {
  const agent = (await accept((await invite()).body.token)).body.access_token;
  const { body } = await invite();
  for (const call of ["POST /v1/invitations", "GET /v1/invitations", `DELETE /v1/invitations/${body.invitation_id}`]) {
    const sent = call.startsWith("POST") ? { body: { email: "x@example.com", role: "member" } } : {};
    assert.equal((await hub.call(call, { token: agent, ...sent })).status, 403, call);
  }
  const admin = { username: "rival", email: "rival@example.com", password: "a long enough one" };
  await hub.call("POST /v1/workspaces", { token, body: { name: "Rival", admin } });
  const rival = (await hub.logIn("rival", admin.password)).access_token;
  assert.deepEqual((await hub.call("GET /v1/invitations", { token: rival })).body.data, []);
  assert.equal((await hub.call(`DELETE /v1/invitations/${body.invitation_id}`, { token: rival })).status, 404);
  assert.equal((await accept(body.token)).status, 201, "still open");
});

test("with a mail server the invitation is emailed after it is committed", async () => {
  await using smtp = await startTestSmtp();
  await using mailing = await startLogInHub({ smtpUrl: smtp.url });
  const admin = (await mailing.logIn("admin")).access_token;
  const { body } = await mailing.call("POST /v1/invitations", {
    token: admin,
    body: { email: "bia@example.com", role: "member" },
  });
  assert.equal(body.mailed, true);
  await mailing.mailer.idle();
  assert.deepEqual(
    smtp.mails.map(({ to }) => to),
    [["bia@example.com"]],
  );
  assert.ok(smtp.mails[0]!.text.includes(body.url));
});

test("an API key with limited scopes can invite members only", async () => {
  const { body } = await hub.call("POST /v1/api-keys", { token, body: { name: "some", scopes: ["users:write"] } });
  assert.equal((await invite({ role: "admin" }, body.key)).status, 403);
  assert.equal((await invite({ role: "agent" }, body.key)).status, 403);
  assert.equal((await invite({ role: "member" }, body.key)).status, 201);
});

function countsOf(values: readonly number[]): Record<number, number> {
  return Object.fromEntries([...Map.groupBy(values, (value) => value)].map(([value, all]) => [value, all.length]));
}
