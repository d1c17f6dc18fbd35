import assert from "node:assert/strict";
import { before, test } from "node:test";
import { closeAfterTests } from "../testing/close-after-tests.ts";
import { issuerConfig, type LogInHub, publicUrl, startLogInHub, type TestBrowser } from "../testing/log-in-hub.ts";
import { type Person, startTestIssuer, type TestIssuer } from "../testing/test-issuer.ts";

let hub: LogInHub;
let issuer: TestIssuer;
let other: TestIssuer;
const opened = closeAfterTests();
before(async () => {
  issuer = opened.use(await startTestIssuer());
  other = opened.use(await startTestIssuer({ hasLateEmail: true, path: "/realms/other/" }));
  hub = opened.use(await startLogInHub({ providers: [issuerConfig("acme", issuer), issuerConfig("other", other)] }));
});

let people = 0;
function personWith(given: Partial<Person> = {}): Person {
  people += 1;
  const name = `person${people}`;
  return {
    sub: `sub-${people}`,
    email: `${name}@example.com`,
    email_verified: true,
    preferred_username: name,
    ...given,
  };
}

async function begin(browser: TestBrowser, provider = "acme", query = ""): Promise<string> {
  const { status, location } = await browser.send("GET", `/auth/oauth/${provider}${query}`);
  assert.equal(status, 302);
  return location!;
}

function comeBack(browser: TestBrowser, answer: URLSearchParams, provider = "acme") {
  return browser.send("GET", `/auth/oauth/${provider}/callback?${answer}`);
}

async function logIn(person: Person, browser = hub.openBrowser(), provider = "acme") {
  const location = await begin(browser, provider);
  return comeBack(browser, (provider === "acme" ? issuer : other).codeFor(location, person), provider);
}

test("the login page can list the providers", async () => {
  const { body } = await hub.call("GET /auth/providers");
  assert.deepEqual(body.data, [
    { provider: "acme", url: `${publicUrl}/auth/oauth/acme` },
    { provider: "other", url: `${publicUrl}/auth/oauth/other` },
  ]);
  const unknown = await hub.call("GET /auth/oauth/nobody");
  assert.deepEqual([unknown.status, unknown.body.error.code], [404, "RESOURCE_NOT_FOUND"]);
});

test("the browser is redirected with state, nonce and a challenge, and keeps an opaque cookie", async () => {
  const browser = hub.openBrowser();
  const answer = await browser.send("GET", "/auth/oauth/acme");
  const url = new URL(answer.location!);
  assert.equal(url.origin + url.pathname, `${issuer.url}/authorize`);
  const { state, nonce, code_challenge, ...rest } = Object.fromEntries(url.searchParams);
  assert.deepEqual(rest, {
    client_id: "hub",
    response_type: "code",
    redirect_uri: `${publicUrl}/auth/oauth/acme/callback`,
    scope: "openid email profile",
    code_challenge_method: "S256",
  });
  for (const value of [state, nonce, code_challenge]) assert.match(value!, /^[\w-]{43}$/);
  const [cookie] = answer.headers.getSetCookie();
  assert.match(cookie!, /^c4a_log_in=[\w-]+; Max-Age=600; Path=\/; HttpOnly; SameSite=Lax$/);
  assert.ok(!Buffer.from(cookie!.split(/[=;]/)[1]!, "base64url").includes(state!));
  assert.equal(answer.headers.get("cache-control"), "no-store");
});

test("an unknown person becomes a member with the verified email address, and is logged in", async () => {
  const person = personWith({ preferred_username: "Ana Lima!", name: "Ana Lima" });
  const { status, body, headers } = await logIn(person);
  assert.equal(status, 200);
  assert.deepEqual(Object.keys(body).sort(), ["access_token", "expires_in", "refresh_token", "token_type", "user_id"]);
  assert.equal(headers.get("cache-control"), "no-store");
  const { body: me } = await hub.call("GET /v1/me", { token: body.access_token });
  assert.deepEqual(
    [me.user_id, me.username, me.display_name, me.email, me.role],
    [body.user_id, "AnaLima", "Ana Lima", person.email, "member"],
  );
  const again = await logIn({ ...person, email: "moved@example.com", email_verified: false });
  assert.equal(again.body.user_id, body.user_id, "the identity stays with its user when the address changes");
});

test("a taken username gets a number, and twenty concurrent first logins create one user", async () => {
  const person = personWith({ preferred_username: "admin" });
  const answers = await Promise.all(Array.from({ length: 20 }, () => logIn(person)));
  assert.deepEqual([...new Set(answers.map(({ status }) => status))], [200]);
  assert.equal(new Set(answers.map(({ body }) => body.user_id)).size, 1);
  const { body: me } = await hub.call("GET /v1/me", { token: answers[0]!.body.access_token });
  assert.match(me.username, /^admin-\d{5}$/);
});

test("the email address is read from the userinfo endpoint if the ID token lacks it", async () => {
  const person = personWith();
  const { status, body } = await logIn(person, hub.openBrowser(), "other");
  assert.equal(status, 200);
  assert.equal((await hub.call("GET /v1/me", { token: body.access_token })).body.email, person.email);
});

test("an email address that the provider has not verified opens no account and reveals none", async () => {
  await hub.call("POST /auth/register", {
    body: { username: "careful", email: "careful@example.com", password: "a long enough one" },
  });
  const answers = [];
  for (const email of ["careful@example.com", "unknown@example.com"]) {
    for (const email_verified of [false, undefined, "true", 1]) {
      answers.push(await logIn(personWith({ email, email_verified })));
    }
  }
  for (const { status, body } of answers) assert.deepEqual([status, body.error.code], [403, "FORBIDDEN"]);
  assert.equal(new Set(answers.map(({ body }) => body.error.message)).size, 1);
  const { email: _, ...without } = personWith();
  assert.equal((await logIn(without)).body.error.code, "FORBIDDEN");
  const refusals = "SELECT details FROM audit_log WHERE action = 'session.refused' AND details->>'reason' = $1";
  assert.equal((await hub.db.query(refusals, ["provider_log_in"])).rows.length, answers.length + 1);
});

test("an email address that only looks the same to the database opens no account", async () => {
  await hub.call("POST /auth/register", {
    body: { username: "mark", email: "mark@example.com", password: "a long enough one" },
  });
  for (const email of ["mar\u212a@example.com", "m\u00e4rk@example.com"]) {
    const { status, body } = await logIn(personWith({ email }));
    assert.deepEqual([status, body.error?.code], [403, "FORBIDDEN"], email);
  }
});

// Somebody registers with the address of another, and waits inside for the owner to come by a provider.
test("an account with an unverified email address goes to the person who proves the email address, and closes to the claimant", async () => {
  const body = { username: "squatter", email: "Victim@example.com", password: "the squatter's own" };
  const squatter = (await hub.call("POST /auth/register", { body })).body;
  const key = (
    await hub.call("POST /v1/api-keys", { token: squatter.access_token, body: { name: "k", scopes: ["*"] } })
  ).body.key;
  const victim = personWith({ email: "victim@example.com" });
  const admin = (await hub.logIn("admin")).access_token;
  const reset = await hub.call(`POST /v1/users/${squatter.user.user_id}/password-reset`, { token: admin });

  const { status, body: session } = await logIn(victim);

  assert.deepEqual([status, session.user_id], [200, squatter.user.user_id]);
  for (const token of [squatter.access_token, key]) {
    assert.equal((await hub.call("GET /v1/me", { token })).status, 401);
  }
  const login = await hub.call("POST /auth/token", { body: { username: "squatter", password: body.password } });
  assert.equal(login.status, 401);
  const kept = { token: reset.body.token, new_password: body.password };
  assert.equal((await hub.call("POST /auth/password/reset", { body: kept })).status, 401);
  // Proved now: a second provider with the same address links without taking anything.
  const second = await logIn(personWith({ email: "victim@example.com" }), hub.openBrowser(), "other");
  assert.equal(second.body.user_id, session.user_id);
  assert.equal((await hub.call("GET /v1/me", { token: session.access_token })).status, 200);
});

// Otherwise the claimant could return by an invitation, or keep receiving events.
test("what a claimant made as an admin ends with the claim", async () => {
  const body = { username: "patient", email: "patient@example.com", password: "the squatter's own" };
  const squatter = (await hub.call("POST /auth/register", { body })).body;
  const admin = (await hub.logIn("admin")).access_token;
  const change = { token: admin, body: { role: "admin" } };
  assert.equal((await hub.call(`PATCH /v1/users/${squatter.user.user_id}`, change)).status, 200);
  const token = (await hub.logIn("patient", body.password)).access_token;
  const invited = await hub.call("POST /v1/invitations", { token, body: { email: "back@example.com", role: "admin" } });
  assert.equal(invited.status, 201);

  assert.equal((await logIn(personWith({ email: "patient@example.com" }))).status, 200);

  const back = { token: invited.body.token, username: "back", password: "the squatter's own" };
  assert.equal((await hub.call("POST /auth/invitations/accept", { body: back })).status, 401);
});

test("a disabled user cannot log in through a provider, and a deleted one becomes a new user", async () => {
  const person = personWith();
  const { body: session } = await logIn(person);
  const token = (await hub.logIn("admin")).access_token;
  await hub.call(`PATCH /v1/users/${session.user_id}`, { token, body: { disabled: true } });
  assert.equal((await logIn(person)).status, 401);
  assert.equal((await logIn({ ...person, sub: "another identity" })).status, 403);
  await hub.call(`DELETE /v1/users/${session.user_id}`, { token });
  const { status, body } = await logIn(person);
  assert.equal(status, 200);
  assert.notEqual(body.user_id, session.user_id);
});

test("with closed registration an unknown person is refused, and an existing user logs in", async () => {
  await using closed = await startLogInHub({ registration: "closed", providers: [issuerConfig("acme", issuer)] });
  const token = (await closed.logIn("admin")).access_token;
  const user = { username: "invited", email: "invited@example.com", password: "a long enough one", role: "agent" };
  assert.equal((await closed.call("POST /v1/users", { token, body: user })).status, 201);
  for (const [email, expected] of [
    ["stranger@example.com", 403],
    ["invited@example.com", 200],
  ] as const) {
    const browser = closed.openBrowser();
    const answer = issuer.codeFor(await begin(browser), personWith({ email }));
    assert.equal((await comeBack(browser, answer)).status, expected);
  }
});

test("with return_to a code is exchanged once, by the browser that logged in, and no token is in the URL", async () => {
  const browser = hub.openBrowser();
  const answer = issuer.codeFor(await begin(browser, "acme", "?return_to=/console%3Ftab%3D1"), personWith());
  const { status, location, headers } = await comeBack(browser, answer);
  assert.deepEqual([status, headers.get("referrer-policy")], [302, "no-referrer"]);
  const page = new URL(location!);
  assert.equal(page.origin + page.pathname, `${publicUrl}/console`);
  const code = page.searchParams.get("log_in_code")!;
  assert.deepEqual([...page.searchParams.keys()], ["tab", "log_in_code"]);

  const thief = await hub.openBrowser().send("POST", "/auth/oauth/exchange", { code });
  assert.deepEqual([thief.status, thief.body.error.code], [401, "AUTH_INVALID"]);
  const wrong = await browser.send("POST", "/auth/oauth/exchange", { code: "x".repeat(43) });
  assert.equal(wrong.status, 401);
  const cookies = new Map(browser.cookies);
  const right = await browser.send("POST", "/auth/oauth/exchange", { code });
  assert.equal(right.status, 200);
  assert.equal((await hub.call("GET /v1/me", { token: right.body.access_token })).body.user_id, right.body.user_id);
  for (const [name, value] of cookies) browser.cookies.set(name, value);
  assert.equal((await browser.send("POST", "/auth/oauth/exchange", { code })).status, 401, "a second time");
});

test("return_to accepts pages of this hub only", async () => {
  for (const path of [
    "https://evil.test/",
    "//evil.test",
    "/\\evil.test",
    "/\t/evil.test",
    "\\\\evil.test",
    "javascript:alert(1)",
    "console",
    "/\n//evil.test",
    "///evil.test",
  ]) {
    const { status, body } = await hub.call(`GET /auth/oauth/acme?return_to=${encodeURIComponent(path)}`);
    if (status !== 302) assert.deepEqual([status, body.error.details.field], [400, "return_to"], path);
    else assert.fail(`${JSON.stringify(path)} was let through`);
  }
});

test("over HTTPS the cookie has the __Host- prefix", async () => {
  await using secure = await startLogInHub({
    publicUrl: "https://hub.test/chat",
    providers: [issuerConfig("acme", issuer)],
  });
  const { headers, location } = await secure.openBrowser().send("GET", "/auth/oauth/acme");
  assert.match(
    headers.getSetCookie()[0]!,
    /^__Host-c4a_log_in=\S+; Max-Age=600; Path=\/; HttpOnly; SameSite=Lax; Secure$/,
  );
  assert.equal(new URL(location!).searchParams.get("redirect_uri"), "https://hub.test/chat/auth/oauth/acme/callback");
});
