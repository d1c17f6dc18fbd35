/** Attacks on the callback, and responses of a hostile provider: none opens a session. */
import assert from "node:assert/strict";
import { before, beforeEach, test } from "node:test";
import { closeAfterTests } from "../testing/close-after-tests.ts";
import { issuerConfig, type LogInHub, startLogInHub, type TestBrowser } from "../testing/log-in-hub.ts";
import { type Misbehaviour, type Person, startTestIssuer, type TestIssuer } from "../testing/test-issuer.ts";

let hub: LogInHub;
let issuer: TestIssuer;
let other: TestIssuer;
const ana: Person = { sub: "ana", email: "ana@example.com", email_verified: true };
const eve: Person = { sub: "eve", email: "eve@example.com", email_verified: true };

const opened = closeAfterTests();
before(async () => {
  issuer = opened.use(await startTestIssuer());
  other = opened.use(await startTestIssuer({ isNameless: true }));
  hub = opened.use(await startLogInHub({ providers: [issuerConfig("acme", issuer), issuerConfig("other", other)] }));
});
beforeEach(() => issuer.misbehave({}));

async function begin(browser: TestBrowser, provider = "acme"): Promise<string> {
  return (await browser.send("GET", `/auth/oauth/${provider}`)).location!;
}

function comeBack(browser: TestBrowser, answer: URLSearchParams | string, provider = "acme") {
  return browser.send("GET", `/auth/oauth/${provider}/callback?${answer}`);
}

async function sessions(): Promise<number> {
  return Number((await hub.db.query("SELECT count(*) AS n FROM sessions")).rows[0].n);
}

/** Runs an attack, and expects this response and no session. */
async function refused(
  attack: () => Promise<{ status: number; body: { error: { code: string; message: string } } }>,
  [status, code]: [number, string] = [401, "AUTH_INVALID"],
) {
  const before = await sessions();
  const answer = await attack();
  assert.deepEqual([answer.status, answer.body.error?.code], [status, code]);
  assert.equal(await sessions(), before);
  return answer.body.error.message;
}

test("the requests that the attacks below modify succeed when unmodified", async () => {
  const browser = hub.openBrowser();
  assert.equal((await comeBack(browser, issuer.codeFor(await begin(browser), ana))).status, 200);
});

for (const [what, change] of [
  ["another state", (answer: URLSearchParams) => answer.set("state", "x".repeat(43))],
  ["no state", (answer: URLSearchParams) => answer.delete("state")],
  ["two states", (answer: URLSearchParams) => answer.append("state", answer.get("state")!)],
  ["another iss", (answer: URLSearchParams) => answer.set("iss", "https://evil.test")],
  ["no iss, where the issuer promises one", (answer: URLSearchParams) => answer.delete("iss")],
  ["no code", (answer: URLSearchParams) => answer.delete("code")],
  ["two codes", (answer: URLSearchParams) => answer.append("code", "x")],
  ["another code", (answer: URLSearchParams) => answer.set("code", "x")],
  ["an ID token in the URL", (answer: URLSearchParams) => answer.set("id_token", "a.b.c")],
] as const) {
  test(`a callback with ${what} is refused`, async () => {
    const browser = hub.openBrowser();
    const answer = issuer.codeFor(await begin(browser), ana);
    change(answer);
    await refused(() => comeBack(browser, answer));
  });
}

test("a callback without the cookie, or with a changed, forged or expired one, is refused", async () => {
  const browser = hub.openBrowser();
  const answer = issuer.codeFor(await begin(browser), ana);
  const [name, value] = [...browser.cookies][0]!;
  await refused(() => comeBack(hub.openBrowser(), answer));
  for (const wrong of [`${value.slice(0, -2)}AA`, "AAAA", "", hub.box.seal("{}", "another").toString("base64url")]) {
    const changed = hub.openBrowser();
    changed.cookies.set(name, wrong);
    await refused(() => comeBack(changed, answer));
  }
  hub.passTime(600_000);
  await refused(() => comeBack(browser, answer));
});

test("a callback works once, even with the cookie and a new code", async () => {
  const browser = hub.openBrowser();
  const location = await begin(browser);
  const cookies = new Map(browser.cookies);
  assert.equal((await comeBack(browser, issuer.codeFor(location, ana))).status, 200);
  assert.equal(browser.cookies.size, 0);
  await refused(() => comeBack(browser, issuer.codeFor(location, ana)));
  for (const [name, value] of cookies) browser.cookies.set(name, value);
  await refused(() => comeBack(browser, issuer.codeFor(location, ana)));
});

test("of twenty concurrent callbacks one succeeds", async () => {
  const browser = hub.openBrowser();
  const location = await begin(browser);
  const before = await sessions();
  const answers = await Promise.all(Array.from({ length: 20 }, () => comeBack(browser, issuer.codeFor(location, ana))));
  assert.deepEqual(answers.map(({ status }) => status).sort(), [200, ...Array(19).fill(401)]);
  assert.equal(await sessions(), before + 1);
});

// Eve stops her own browser before the callback and has Ana's browser go there: Ana would be logged in as Eve.
test("the response to another browser's login is refused, with either state", async () => {
  const [hers, mine] = [hub.openBrowser(), hub.openBrowser()];
  const answer = issuer.codeFor(await begin(hers), eve);
  const own = issuer.codeFor(await begin(mine), ana);
  await refused(() => comeBack(mine, answer));
  // Her code with the state of the browser it is brought to: the verifier does not fit.
  own.set("code", answer.get("code")!);
  await refused(() => comeBack(mine, own));
});

// A provider that is evil, or was broken into, hands out what it got for what another one gave.
test("a response from one provider is refused for another", async () => {
  const browser = hub.openBrowser();
  const nameless = issuer.codeFor(await begin(browser), ana);
  nameless.delete("iss");
  await refused(() => comeBack(browser, nameless, "other"));
  const swapped = hub.openBrowser();
  const answer = issuer.codeFor(await begin(swapped), ana);
  answer.set("iss", other.url);
  await refused(() => comeBack(swapped, answer));
  const calls = other.calls.filter((call) => call === "POST /token").length;
  assert.equal(calls, 0, "the other one never sees the code");
});

const now = () => Math.floor(Date.now() / 1000);
for (const [what, how] of [
  ["the nonce of another login", { claims: { nonce: "x".repeat(43) } }],
  ["no nonce", { claims: { nonce: undefined } }],
  ["the name of another issuer", { claims: { iss: "https://accounts.google.com" } }],
  ["no issuer", { claims: { iss: undefined } }],
  ["another audience", { claims: { aud: "somebody else" } }],
  ["several audiences, meant for another", { claims: { aud: ["hub", "somebody else"], azp: "somebody else" } }],
  ["no audience", { claims: { aud: undefined } }],
  ["no subject", { claims: { sub: undefined } }],
  ["a subject that no database takes", { claims: { sub: "a\u0000b" } }],
  ["a subject without an end", { claims: { sub: "a".repeat(256) } }],
  ["a subject that is no text", { claims: { sub: 7 } }],
  ["an end that is over", { claims: { exp: now() - 120 } }],
  ["no end", { claims: { exp: undefined } }],
  ["a beginning that is to come", { claims: { nbf: now() + 3600 } }],
  ["no time of issue", { claims: { iat: undefined } }],
  ["no signature (alg none)", { alg: "none" }],
  ["the public key as its secret (HS256)", { alg: "HS256" }],
  ["the signature of a stranger", { isForged: true }],
] as const satisfies [string, Misbehaviour][]) {
  test(`an ID token with ${what} is refused`, async () => {
    const browser = hub.openBrowser();
    const location = await begin(browser);
    issuer.misbehave(how);
    await refused(() => comeBack(browser, issuer.codeFor(location, ana)));
  });
}

test("a token endpoint that redirects, responds with HTML or refuses fails the login without details", async () => {
  for (const how of [
    { location: "https://evil.test/token" },
    { body: "<html>token=abc</html>" },
    { body: "x".repeat(2 * 1024 * 1024) },
    { status: 400 },
    { status: 204 },
  ]) {
    const browser = hub.openBrowser();
    const location = await begin(browser);
    issuer.misbehave(how);
    const before = await sessions();
    const { status, body } = await comeBack(browser, issuer.codeFor(location, ana));
    assert.ok([401, 503].includes(status), `${status}`);
    assert.doesNotMatch(body.error.message, /evil|abc|html/);
    assert.equal(await sessions(), before);
  }
});

test("a declined login is explained, if this browser started it", async () => {
  const at = async (error: string) => {
    const browser = hub.openBrowser();
    const state = new URL(await begin(browser)).searchParams.get("state")!;
    return { browser, answer: new URLSearchParams({ error, state, iss: issuer.url }) };
  };
  for (const [error, expected, sentence] of [
    ["access_denied", [403, "FORBIDDEN"], /cancelled at acme/],
    ["invalid_scope", [403, "FORBIDDEN"], /acme refused the login \(invalid_scope\)/],
    ["<script>", [403, "FORBIDDEN"], /\(an unknown error\)/],
    ["temporarily_unavailable", [503, "CHANNEL_UNAVAILABLE"], /acme does not respond/],
  ] as const) {
    const { browser, answer } = await at(error);
    assert.match(await refused(() => comeBack(browser, answer), [...expected]), sentence);
  }
  const { answer } = await at("access_denied");
  await refused(() => comeBack(hub.openBrowser(), answer));
});

test("an unreachable provider is reported as such, and works again once it is back", async () => {
  await using late = await startTestIssuer();
  await using own = await startLogInHub({ providers: [issuerConfig("late", late)] });
  const browser = own.openBrowser();
  late.setDown(true);
  const down = await browser.send("GET", "/auth/oauth/late");
  assert.deepEqual([down.status, down.body.error.code], [503, "CHANNEL_UNAVAILABLE"]);
  assert.equal(down.headers.get("retry-after"), "5");
  late.setDown(false);
  const location = await begin(browser, "late");
  late.setDown(true);
  const away = await comeBack(browser, late.codeFor(location, ana), "late");
  assert.deepEqual([away.status, away.body.error.code], [503, "CHANNEL_UNAVAILABLE"]);
  late.setDown(false);
  const answer = late.codeFor(await begin(browser, "late"), ana);
  assert.equal((await comeBack(browser, answer, "late")).status, 200);
  const discoveries = late.calls.filter((call) => call.includes("well-known")).length;
  assert.equal(discoveries, 3, "two tries while it was down, then one that is kept");
});
