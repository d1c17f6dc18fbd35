import assert from "node:assert/strict";
import { before, test } from "node:test";
import { buckets, newTries } from "../log-in/guesses.ts";
import { requireSecondFactor } from "../log-in/log-in.ts";
import { codeOf, stepAt } from "../log-in/totp/one-time-code.ts";
import { closeAfterTests } from "../testing/close-after-tests.ts";
import { type LogInHub, startLogInHub } from "../testing/log-in-hub.ts";

let hub: LogInHub;
const opened = closeAfterTests();
before(async () => {
  hub = opened.use(await startLogInHub());
});

const password = "a long enough one";

const register = () => hub.register(password);

/** What an authenticator app shows. */
function app(secret: string, shift = 0): string {
  return codeOf(fromBase32(secret), stepAt(hub.clock.now()) + shift);
}

async function begin(token: string): Promise<string> {
  return (await hub.call("POST /v1/me/totp", { token })).body.secret;
}

async function registerWithTotp() {
  const user = await register();
  const secret = await begin(user.token);
  const { body } = await hub.call("POST /v1/me/totp/confirm", { token: user.token, body: { code: app(secret) } });
  // The step of the confirmation is spent.
  hub.passTime(30_000);
  return { ...user, secret, recoveryCodes: body.recovery_codes as string[] };
}

function logIn(username: string, totp_code?: string, given = password) {
  return hub.call("POST /auth/token", { body: { username, password: given, ...(totp_code ? { totp_code } : {}) } });
}

test("a second factor is active once a code was confirmed, and is then required after the right password only", async () => {
  const user = await register();
  const first = await begin(user.token);
  const { status, body } = await hub.call("POST /v1/me/totp", { token: user.token });
  assert.equal(status, 201);
  assert.notEqual(body.secret, first, "asking again gives another");
  assert.equal(new URL(body.otpauth_url).searchParams.get("secret"), body.secret);
  assert.equal((await logIn(user.username)).status, 200, "not on yet");

  const confirm = (code: string) => hub.call("POST /v1/me/totp/confirm", { token: user.token, body: { code } });
  assert.equal((await confirm(app(first))).status, 403);
  const confirmed = await confirm(app(body.secret));
  assert.equal(confirmed.status, 200);
  assert.equal(new Set(confirmed.body.recovery_codes).size, 10);
  for (const code of confirmed.body.recovery_codes) assert.match(code, /^([A-Z2-7]{4}-){3}[A-Z2-7]{4}$/);

  const missing = await logIn(user.username);
  assert.deepEqual([missing.status, missing.body.error.code], [401, "AUTH_REQUIRED"]);
  assert.deepEqual(missing.body.error.details, { totp_required: true });
  const wrong = await logIn(user.username, undefined, "wrong password");
  assert.deepEqual([wrong.body.error.code, wrong.body.error.details], ["AUTH_INVALID", {}]);
  const wrongWithCode = await logIn(user.username, app(body.secret, 1), "wrong password");
  assert.equal(wrongWithCode.body.error.code, "AUTH_INVALID");
  hub.passTime(30_000);
  assert.equal((await logIn(user.username, app(body.secret))).status, 200);
});

test("a code works once, also one step early or late", async () => {
  const user = await registerWithTotp();
  const code = app(user.secret);
  assert.equal((await logIn(user.username, code)).status, 200);
  assert.equal((await logIn(user.username, code)).body.error.code, "AUTH_INVALID");
  assert.equal((await logIn(user.username, app(user.secret, -1))).status, 401, "an older one than was used");
  assert.equal((await logIn(user.username, app(user.secret, 1))).status, 200);
  hub.passTime(90_000);
  const step = app(user.secret);
  const deps = { db: hub.db, box: hub.box, clock: hub.clock };
  const tries = Array.from({ length: 20 }, () => requireSecondFactor(deps, user.userId, step));
  const passed = (await Promise.allSettled(tries)).filter(({ status }) => status === "fulfilled");
  assert.equal(passed.length, 1, "of twenty at once one is let in");
  hub.passTime(120_000);
  const outside = [app(user.secret, -2), app(user.secret, 2)];
  for (const late of outside) assert.equal((await logIn(user.username, late)).status, 401);
});

test("each recovery code replaces a code once, in any spelling", async () => {
  const user = await registerWithTotp();
  const [first, second] = user.recoveryCodes as [string, string];
  assert.equal((await logIn(user.username, first)).status, 200);
  assert.equal((await logIn(user.username, first)).status, 401);
  assert.equal((await logIn(user.username, second.toLowerCase().replaceAll("-", ""))).status, 200);
  const { rows } = await hub.db.query("SELECT count(*) AS n FROM recovery_codes WHERE user_id = $1", [user.userId]);
  assert.equal(Number(rows[0].n), 8);
});

test("it can be removed with a code, and its recovery codes end", async () => {
  const user = await registerWithTotp();
  const remove = (code: string) => hub.call("DELETE /v1/me/totp", { token: user.token, body: { code } });
  assert.equal((await remove("000000")).status, 403);
  assert.equal((await hub.call("POST /v1/me/totp", { token: user.token })).status, 409);
  assert.equal((await remove(app(user.secret))).status, 204);
  assert.equal((await remove("000000")).status, 404);
  assert.equal((await logIn(user.username)).status, 200);
  const { rows } = await hub.db.query("SELECT FROM recovery_codes WHERE user_id = $1", [user.userId]);
  assert.equal(rows.length, 0);
});

test("wrong codes count like wrong passwords at login, and for the session when the factor is removed", async () => {
  const user = await registerWithTotp();
  const free = newTries + buckets.repeated.burst;
  for (let n = 0; n < free; n += 1) assert.equal((await logIn(user.username, "000000")).status, 401);
  const refused = await logIn(user.username, app(user.secret));
  assert.equal(refused.status, 429);

  const remove = (code: string) => hub.call("DELETE /v1/me/totp", { token: user.token, body: { code } });
  for (let n = 0; n < buckets.trusted.burst; n += 1) assert.equal((await remove("000000")).status, 403);
  assert.equal((await remove(app(user.secret))).status, 429);

  await hub.ageGuesses(Number(refused.headers.get("retry-after")) * 1000);
  assert.equal((await logIn(user.username, app(user.secret))).status, 200);
  assert.equal((await remove(app(user.secret, 1))).status, 204);
});

// An app logs in without the code first, which is no guess.
test("a right password without a code does not count as a try", async () => {
  const user = await registerWithTotp();
  for (let n = 0; n < 12; n += 1) assert.equal((await logIn(user.username)).body.error.code, "AUTH_REQUIRED");
  assert.equal((await logIn(user.username, app(user.secret))).status, 200);
});

test("concurrent guesses are limited like sequential ones", async () => {
  const user = await registerWithTotp();
  const answers = await Promise.all(
    Array.from({ length: 50 }, (_, index) =>
      hub.call("DELETE /v1/me/totp", { token: user.token, body: { code: `recovery ${index}` } }),
    ),
  );
  const looked = answers.filter(({ status }) => status === 403).length;
  assert.ok(looked >= 1 && looked <= buckets.trusted.burst, `${looked} were checked`);
  assert.ok(answers.every(({ status }) => status === 403 || status === 429));
});

test("only an admin can remove it for another user of the workspace", async () => {
  const user = await registerWithTotp();
  const path = `DELETE /v1/users/${user.userId}/totp`;
  const token = (await hub.logIn("admin")).access_token;
  const admin = { username: "rival", email: "rival@example.com", password };
  await hub.call("POST /v1/workspaces", { token, body: { name: "Rival", admin } });
  const rival = (await hub.logIn("rival", password)).access_token;
  assert.equal((await hub.call(path, { token: user.token })).status, 403);
  assert.equal((await hub.call(path, { token: rival })).status, 404);
  const { body: key } = await hub.call("POST /v1/api-keys", { token, body: { name: "some", scopes: ["users:write"] } });
  await hub.call(`PATCH /v1/users/${user.userId}`, { token, body: { role: "agent" } });
  assert.equal((await hub.call(path, { token: key.key })).status, 403);
  assert.equal((await hub.call(path, { token })).status, 204);
  assert.equal((await hub.call(path, { token })).status, 404);
  assert.equal((await logIn(user.username)).status, 200);
});

test("an API key has no second factor", async () => {
  const user = await register();
  const { key } = (await hub.call("POST /v1/api-keys", { token: user.token, body: { name: "k", scopes: ["*"] } })).body;
  assert.equal((await hub.call("POST /v1/me/totp", { token: key })).status, 403);
});

test("the secret is encrypted and the recovery codes are hashed", async () => {
  const user = await registerWithTotp();
  const { rows } = await hub.db.query(
    `SELECT row_to_json(t)::text AS row FROM totp_secrets t
     UNION ALL SELECT row_to_json(r)::text FROM recovery_codes r`,
  );
  const secret = fromBase32(user.secret);
  for (const { row } of rows) {
    for (const known of [user.secret, secret.toString("hex"), secret.toString("base64"), ...user.recoveryCodes]) {
      assert.ok(!row.includes(known) && !row.includes(Buffer.from(known).toString("hex")));
    }
  }
});

function fromBase32(text: string): Buffer {
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
  const bits = [...text].map((letter) => alphabet.indexOf(letter).toString(2).padStart(5, "0")).join("");
  return Buffer.from(bits.match(/.{8}/g)!.map((byte) => Number.parseInt(byte, 2)));
}
