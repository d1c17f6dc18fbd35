import assert from "node:assert/strict";
import { before, test } from "node:test";
import { buckets } from "../log-in/guesses.ts";
import { closeAfterTests } from "../testing/close-after-tests.ts";
import { issuerConfig, type LogInHub, publicUrl, startLogInHub } from "../testing/log-in-hub.ts";
import { startTestIssuer, type TestIssuer } from "../testing/test-issuer.ts";
import { startTestSmtp } from "../testing/test-smtp.ts";
import { until } from "../testing/until.ts";

let hub: LogInHub;
let issuer: TestIssuer;
let smtp: Awaited<ReturnType<typeof startTestSmtp>>;
const opened = closeAfterTests();
before(async () => {
  issuer = opened.use(await startTestIssuer());
  smtp = opened.use(await startTestSmtp());
  hub = opened.use(await startLogInHub({ providers: [issuerConfig("acme", issuer)], smtpUrl: smtp.url }));
});

const old = "the old password";
const fresh = "a fresh password";

const register = () => hub.register(old);

async function canLogIn(username: string, password: string): Promise<boolean> {
  return (await hub.call("POST /auth/token", { body: { username, password } })).status === 200;
}

const isLive = (token: string) => hub.isLive(token);

function change(token: string, body: Record<string, unknown>) {
  return hub.call("POST /v1/me/password", { token, body });
}

/** The token of the last email to this email address. */
function untilMailed(email: string): Promise<string> {
  return until(`an email to ${email} arrives`, () => {
    const mail = smtp.mails.findLast(({ to }) => to[0] === email);
    return /#token=(c4p_[\w-]{43})/.exec(mail?.text ?? "")?.[1];
  });
}

test("a password change keeps the current session and ends all others", async () => {
  const user = await register();
  const other = await hub.logIn(user.username, old);
  const answer = await change(user.token, { current_password: old, new_password: fresh });
  assert.deepEqual([answer.status, answer.body], [204, null]);
  assert.deepEqual([await isLive(user.token), await isLive(other.access_token)], [true, false]);
  const refresh = await hub.call("POST /auth/refresh", { body: { refresh_token: other.refresh_token } });
  assert.equal(refresh.status, 401);
  assert.deepEqual([await canLogIn(user.username, old), await canLogIn(user.username, fresh)], [false, true]);
});

test("a wrong or missing current password, and one that is too short or long, blank or the same, changes nothing", async () => {
  const user = await register();
  for (const [body, status] of [
    [{ current_password: "wrong", new_password: fresh }, 403],
    [{ new_password: fresh }, 403],
    [{ current_password: old, new_password: "seven77" }, 400],
    [{ current_password: old, new_password: " ".repeat(8) }, 400],
    [{ current_password: old, new_password: old }, 400],
    [{ current_password: old, new_password: "x".repeat(257) }, 400],
    [{ current_password: old, new_password: fresh, user_id: "x" }, 400],
  ] as const) {
    assert.equal((await change(user.token, body)).status, status);
  }
  assert.equal(await canLogIn(user.username, old), true);
});

test("guesses at the current password are limited per session, apart from failed logins", async () => {
  const user = await register();
  const right = { current_password: old, new_password: fresh };
  const guess = () => change(user.token, { ...right, current_password: "a guess" });
  for (let n = 0; n < 10; n += 1) {
    await hub.call("POST /auth/token", { body: { username: user.username, password: "a guess" } });
  }
  for (let n = 0; n < buckets.trusted.burst; n += 1) assert.equal((await guess()).status, 403);
  const { status, headers } = await change(user.token, right);
  const seconds = Number(headers.get("retry-after"));
  assert.deepEqual([status, seconds > 0 && seconds <= 60], [429, true]);
  await hub.ageGuesses(seconds * 1000);
  assert.equal((await change(user.token, right)).status, 204);
});

test("an API key cannot change a password", async () => {
  const user = await register();
  const { key } = (await hub.call("POST /v1/api-keys", { token: user.token, body: { name: "k", scopes: ["*"] } })).body;
  assert.equal((await change(key, { current_password: old, new_password: fresh })).status, 403);
});

test("a user without a password can set one only right after a login through the provider", async () => {
  const person = { sub: "ana", email: "ana.oauth@example.com", email_verified: true, preferred_username: "ana.oauth" };
  const enter = async () => {
    const browser = hub.openBrowser();
    const { location } = await browser.send("GET", "/auth/oauth/acme");
    const { body } = await browser.send("GET", `/auth/oauth/acme/callback?${issuer.codeFor(location!, person)}`);
    return body.access_token as string;
  };
  const early = await enter();
  hub.passTime(600_001);
  const late = await change(early, { new_password: fresh });
  assert.deepEqual([late.status, late.body.error.code], [403, "FORBIDDEN"]);
  const token = await enter();
  assert.equal((await change(token, { new_password: fresh })).status, 204);
  assert.equal(await canLogIn("ana.oauth", fresh), true);
  assert.equal((await change(token, { new_password: old })).status, 403, "from now on the old one is asked for");
});

test("a token that an admin created sets a new password once, within an hour, and ends all sessions", async () => {
  const user = await register();
  const admin = (await hub.logIn("admin")).access_token;
  const make = () => hub.call(`POST /v1/users/${user.userId}/password-reset`, { token: admin });
  const first = await make();
  assert.equal(first.status, 201);
  assert.match(first.body.token, /^c4p_[\w-]{43}$/);
  assert.equal(first.body.url, `${publicUrl}/reset-password#token=${first.body.token}`);
  assert.equal(first.body.mailed, true);
  assert.equal(await untilMailed(user.email), first.body.token);
  assert.equal(await canLogIn(user.username, old), true, "the old password works until then");
  const second = await make();

  const reset = (token: string) => hub.call("POST /auth/password/reset", { body: { token, new_password: fresh } });
  assert.equal((await reset(first.body.token)).status, 204);

  assert.deepEqual([await isLive(user.token), await canLogIn(user.username, fresh)], [false, true]);
  assert.equal((await reset(first.body.token)).status, 401, "a second time");
  assert.equal((await reset(second.body.token)).status, 401, "another one that was open ended with it");
  const late = await make();
  hub.passTime(3_600_000);
  assert.equal((await reset(late.body.token)).status, 401);
});

test("a login with the old password at the moment of its replacement is refused", async () => {
  const user = await register();
  const admin = (await hub.logIn("admin")).access_token;
  const { token } = (await hub.call(`POST /v1/users/${user.userId}/password-reset`, { token: admin })).body;
  const [reset, logIn] = await hub.meet(
    () => hub.call("POST /auth/password/reset", { body: { token, new_password: fresh } }),
    () => hub.call("POST /auth/token", { body: { username: user.username, password: old } }),
  );
  assert.equal(reset.status, 204);
  assert.deepEqual([logIn.status, logIn.body.error?.code], [401, "AUTH_INVALID"]);
  const { rows } = await hub.db.query("SELECT FROM sessions WHERE user_id = $1 AND revoked_at IS NULL", [user.userId]);
  assert.equal(rows.length, 0);
});

// A password change and a change of role lock the user, and then end its resets.
test("a token that is used while its user is being changed locks the user first", async () => {
  const user = await register();
  const admin = (await hub.logIn("admin")).access_token;
  const { token } = (await hub.call(`POST /v1/users/${user.userId}/password-reset`, { token: admin })).body;
  const holder = await hub.db.connect();
  try {
    await holder.query("BEGIN");
    await holder.query("SELECT FROM users WHERE user_id = $1 FOR UPDATE", [user.userId]);
    const answer = hub.call("POST /auth/password/reset", { body: { token, new_password: fresh } });
    const waits = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    await until("the reset waits", async () => (await hub.db.query(waits)).rowCount === 1);
    // Would be a deadlock.
    await holder.query("UPDATE password_resets SET used_at = now() WHERE user_id = $1", [user.userId]);
    await holder.query("COMMIT");
    assert.equal((await answer).status, 401);
  } finally {
    holder.release();
  }
});

test("of twenty concurrent uses of a token one succeeds", async () => {
  const user = await register();
  const admin = (await hub.logIn("admin")).access_token;
  const { token } = (await hub.call(`POST /v1/users/${user.userId}/password-reset`, { token: admin })).body;
  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, index) =>
      hub.call("POST /auth/password/reset", { body: { token, new_password: `${fresh} ${index}` } }),
    ),
  );
  assert.equal(answers.filter(({ status }) => status === 204).length, 1);
});

test("a reset is emailed at most once in five minutes, and the response is the same for every email address", async () => {
  const user = await register();
  const forgot = (email: string) => hub.call("POST /auth/password/forgot", { body: { email } });
  const known = await forgot(user.email.toUpperCase());
  const unknown = await forgot("nobody@example.com");
  for (const { status, body } of [known, unknown]) assert.deepEqual([status, body], [202, null]);
  const token = await untilMailed(user.email);
  assert.equal(smtp.mails.filter(({ to }) => to[0] === "nobody@example.com").length, 0);
  await Promise.all(Array.from({ length: 10 }, () => forgot(user.email)));
  // Its email would have come behind those ten questions.
  const next = await register();
  await forgot(next.email);
  await untilMailed(next.email);
  assert.equal(smtp.mails.filter(({ to }) => to[0] === user.email).length, 1);

  const reset = await hub.call("POST /auth/password/reset", { body: { token, new_password: fresh } });
  assert.equal(reset.status, 204);
  assert.equal(await canLogIn(user.username, fresh), true);
});

test("a disabled user gets no email and cannot use a token", async () => {
  const user = await register();
  const admin = (await hub.logIn("admin")).access_token;
  const { token } = (await hub.call(`POST /v1/users/${user.userId}/password-reset`, { token: admin })).body;
  await untilMailed(user.email);
  const mails = smtp.mails.length;
  await hub.call(`PATCH /v1/users/${user.userId}`, { token: admin, body: { disabled: true } });
  assert.equal((await hub.call("POST /auth/password/reset", { body: { token, new_password: fresh } })).status, 401);
  await hub.call("POST /auth/password/forgot", { body: { email: user.email } });
  const next = await register();
  await hub.call("POST /auth/password/forgot", { body: { email: next.email } });
  await untilMailed(next.email);
  assert.equal(smtp.mails.length, mails + 1);
});

test("a token ends with the rights of the admin who made it", async () => {
  const [user, leaving] = [await register(), await register()];
  const token = (await hub.logIn("admin")).access_token;
  const setRole = (role: string) => hub.call(`PATCH /v1/users/${leaving.userId}`, { token, body: { role } });
  await setRole("admin");
  const made = await hub.call(`POST /v1/users/${user.userId}/password-reset`, { token: leaving.token });
  assert.equal(made.status, 201);
  await setRole("member");
  const body = { token: made.body.token, new_password: fresh };
  assert.equal((await hub.call("POST /auth/password/reset", { body })).status, 401);
  await setRole("admin");
  assert.equal((await hub.call("POST /auth/password/reset", { body })).status, 401, "the token stays ended");
});

test("only admins can create tokens, for users of their own workspace", async () => {
  const user = await register();
  const path = `POST /v1/users/${user.userId}/password-reset`;
  assert.equal((await hub.call(path, { token: user.token })).status, 403);
  const token = (await hub.logIn("admin")).access_token;
  const admin = { username: "rival", email: "rival@example.com", password: "a long enough one" };
  await hub.call("POST /v1/workspaces", { token, body: { name: "Rival", admin } });
  const rival = (await hub.logIn("rival", admin.password)).access_token;
  assert.equal((await hub.call(path, { token: rival })).status, 404);
});

test("an API key with limited scopes can create tokens for members only", async () => {
  const [user, other] = [await register(), await register()];
  const token = (await hub.logIn("admin")).access_token;
  await hub.call(`PATCH /v1/users/${other.userId}`, { token, body: { role: "agent" } });
  const { body } = await hub.call("POST /v1/api-keys", { token, body: { name: "some", scopes: ["users:write"] } });
  const make = (userId: string) => hub.call(`POST /v1/users/${userId}/password-reset`, { token: body.key });
  assert.deepEqual([(await make(user.userId)).status, (await make(other.userId)).status], [201, 403]);
});

test("tokens are not stored in the database", async () => {
  const user = await register();
  const admin = (await hub.logIn("admin")).access_token;
  const { token } = (await hub.call(`POST /v1/users/${user.userId}/password-reset`, { token: admin })).body;
  const { rows } = await hub.db.query("SELECT row_to_json(r)::text AS row FROM password_resets r");
  assert.ok(rows.length > 0 && rows.every(({ row }) => !row.includes(token)));
});
