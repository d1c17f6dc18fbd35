import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { before, beforeEach, test } from "node:test";
import { openHttpClient } from "../../lib/http.ts";
import { Secret } from "../../lib/secret.ts";
import { closeAfterTests } from "../../testing/close-after-tests.ts";
import { openGithubProvider } from "./github-provider.ts";

/** Responds as GitHub's documentation shows them. Sources: "Authorizing OAuth apps", REST API "Users" and "Emails". */
const usual = {
  token: {
    status: 200,
    body: { access_token: "gho_16C7e42F292c6912E7", token_type: "bearer", scope: "read:user,user:email" },
  },
  user: { status: 200, body: { login: "octocat", id: 583231, name: "The Octocat", email: "public@example.com" } },
  emails: {
    status: 200,
    body: [
      { email: "other@example.com", verified: true, primary: false, visibility: null },
      { email: "octocat@example.com", verified: true, primary: true, visibility: "private" },
    ],
  },
} as const;

type Answers = { [Name in keyof typeof usual]: { status: number; body: unknown } };
let answers: Answers;
const asked: { path: string; headers: Record<string, unknown>; body: string }[] = [];
const opened = closeAfterTests();
const server = createServer(async (request, response) => {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  asked.push({ path: request.url!, headers: request.headers, body: Buffer.concat(chunks).toString() });
  const paths = { "/login/oauth/access_token": "token", "/user": "user", "/user/emails": "emails" } as const;
  const { status, body } = answers[paths[request.url as keyof typeof paths]];
  response.writeHead(status, { "content-type": "application/json; charset=utf-8" }).end(JSON.stringify(body));
});
opened.defer(() => void server.close());
const outbound = opened.adopt(openHttpClient({ connectionsPerHost: 2, allowPrivate: true }), (outbound) =>
  outbound.close(),
);
let url: string;
before(async () => {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
beforeEach(() => {
  answers = structuredClone(usual) as unknown as Answers;
  asked.length = 0;
});

function open() {
  const config = {
    kind: "github",
    name: "github",
    issuer: url,
    clientId: "Iv1.abc",
    scopes: "read:user user:email",
  } as const;
  return openGithubProvider({ ...config, clientSecret: new Secret("s3cret") }, { http: outbound.http, apiUrl: url });
}

const redirectUri = "https://hub.test/auth/oauth/github/callback";
const checks = { state: "the-state", nonce: "unused", codeVerifier: "v".repeat(43) };

function identify(query = "code=the-code&state=the-state") {
  return open().identify(new URL(`${redirectUri}?${query}`), checks);
}

test("the browser is sent to GitHub with what it asks for", async () => {
  const codeChallenge = createHash("sha256").update(checks.codeVerifier).digest("base64url");
  const sent = await open().authorizationUrl({ redirectUri, state: "the-state", nonce: "unused", codeChallenge });
  assert.equal(sent.origin + sent.pathname, `${url}/login/oauth/authorize`);
  assert.deepEqual(Object.fromEntries(sent.searchParams), {
    client_id: "Iv1.abc",
    response_type: "code",
    redirect_uri: redirectUri,
    scope: "read:user user:email",
    state: "the-state",
    code_challenge: codeChallenge,
    code_challenge_method: "S256",
  });
});

test("a person is identified by GitHub's numeric id, with the primary address", async () => {
  assert.deepEqual(await identify(), {
    issuer: url,
    subject: "583231",
    email: "octocat@example.com",
    isEmailVerified: true,
    username: "octocat",
    displayName: "The Octocat",
  });
  const [token, ...rest] = asked;
  assert.equal(token!.headers.accept, "application/json");
  assert.deepEqual(Object.fromEntries(new URLSearchParams(token!.body)), {
    client_id: "Iv1.abc",
    client_secret: "s3cret",
    code: "the-code",
    code_verifier: checks.codeVerifier,
    grant_type: "authorization_code",
    redirect_uri: redirectUri,
  });
  for (const { headers } of rest) assert.equal(headers.authorization, "Bearer gho_16C7e42F292c6912E7");
});

test("an unverified primary address is no proof, even when another one is verified", async () => {
  answers.emails.body = usual.emails.body.map((each) => ({ ...each, verified: !each.primary }));
  const { email, isEmailVerified } = await identify();
  assert.deepEqual([email, isEmailVerified], ["octocat@example.com", false]);
  answers.emails.body = [];
  assert.equal((await identify()).email, null);
});

for (const [what, change, code] of [
  [
    "a refusal that comes with status 200",
    { token: { status: 200, body: { error: "bad_verification_code" } } },
    "AUTH_INVALID",
  ],
  ["a user without a number", { user: { status: 200, body: { login: "octocat", id: "583231" } } }, "AUTH_INVALID"],
  ["no list of addresses", { emails: { status: 200, body: { message: "odd" } } }, "AUTH_INVALID"],
  ["a token that does not do", { emails: { status: 403, body: { message: "Forbidden" } } }, "AUTH_INVALID"],
  ["too many questions", { user: { status: 429, body: {} } }, "CHANNEL_UNAVAILABLE"],
  ["a problem of its own", { user: { status: 502, body: {} } }, "CHANNEL_UNAVAILABLE"],
] as const) {
  test(`${what} gets ${code}`, async () => {
    Object.assign(answers, change);
    await assert.rejects(identify(), { code });
  });
}

test("another state is refused before GitHub is asked", async () => {
  await assert.rejects(identify("code=the-code&state=another"), { code: "AUTH_INVALID" });
  await assert.rejects(identify("error=access_denied&state=the-state"), { code: "FORBIDDEN" });
  assert.deepEqual(asked, []);
});
