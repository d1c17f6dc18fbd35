import assert from "node:assert/strict";
import { before, test } from "node:test";
import { deleteOldSessions } from "../credentials/credentials.ts";
import { closeAfterTests } from "../testing/close-after-tests.ts";
import { adminPassword, type IdentityHub, startIdentityHub } from "../testing/identity-hub.ts";

let hub: IdentityHub;
const opened = closeAfterTests();
before(async () => {
  hub = opened.use(await startIdentityHub());
});

const newcomer = (username: string) => ({ username, email: `${username}@example.com`, password: "a long enough one" });

test("registering creates a member of the default workspace and logs the user in", async () => {
  const { status, body } = await hub.call("POST /auth/register", { body: newcomer("Ana.Lima") });

  assert.equal(status, 201);
  const { user_id, workspace_id, created_at, ...user } = body.user;
  assert.deepEqual(user, {
    username: "Ana.Lima",
    email: "Ana.Lima@example.com",
    display_name: "Ana.Lima",
    role: "member",
    disabled: false,
  });
  assert.match(created_at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  assert.deepEqual([body.token_type, body.expires_in], ["Bearer", 3600]);
  const me = await hub.call("GET /v1/me", { token: body.access_token });
  assert.equal(me.status, 200);
  assert.deepEqual([me.body.user_id, me.body.workspace_id], [user_id, workspace_id]);
  assert.deepEqual([me.body.preferred_model, me.body.llm_api_key_configured], [null, false]);
});

test("a taken username or email address in any case is a conflict that names the field", async () => {
  await hub.call("POST /auth/register", { body: newcomer("taken") });
  for (const same of [{ username: "TAKEN" }, { email: "Taken@EXAMPLE.com" }]) {
    const { status, body } = await hub.call("POST /auth/register", { body: { ...newcomer("free"), ...same } });
    assert.deepEqual([status, body.error.code], [409, "CONFLICT"]);
    assert.equal(body.error.details.field, Object.keys(same)[0]);
  }
});

test("rejects read-only and unknown fields by name", async () => {
  for (const extra of [
    { role: "admin" },
    { workspace_id: "x" },
    { user_id: "x" },
    { disabled: false },
    { emial: "" },
  ]) {
    const { status, body } = await hub.call("POST /auth/register", { body: { ...newcomer("eve"), ...extra } });
    assert.deepEqual([status, body.error.code], [400, "VALIDATION_ERROR"]);
    assert.equal(body.error.details.field, Object.keys(extra)[0]);
  }
});

test("rejects invalid usernames, email addresses and passwords by name", async () => {
  const refused = [
    { username: "ab" },
    { username: "a".repeat(51) },
    { username: "ana lima" },
    { username: "аna" }, // a Cyrillic а
    { username: "nul\u0000" },
    { email: "not an address" },
    { password: "seven77" },
    { password: "x".repeat(257) },
  ];
  for (const wrong of refused) {
    const { status, body } = await hub.call("POST /auth/register", { body: { ...newcomer("bob"), ...wrong } });
    assert.deepEqual([status, body.error.details.field], [400, Object.keys(wrong)[0]]);
  }
});

test("an unknown user and a wrong password get the same response", async () => {
  const wrong = await hub.call("POST /auth/token", { body: { username: "admin", password: "wrong password" } });
  const unknown = await hub.call("POST /auth/token", { body: { username: "nobody", password: "wrong password" } });
  const impossible = await hub.call("POST /auth/token", { body: { username: "no\u0000body", password: "x" } });

  assert.deepEqual([wrong.status, wrong.body.error.code], [401, "AUTH_INVALID"]);
  for (const { status, body } of [unknown, impossible]) {
    assert.equal(status, 401);
    assert.deepEqual({ ...body.error, request_id: "" }, { ...wrong.body.error, request_id: "" });
  }
});

test("the username's case does not matter at login", async () => {
  const session = await hub.logIn("AdMiN");
  assert.equal(session.token_type, "Bearer");
  assert.deepEqual(Object.keys(session).sort(), [
    "access_token",
    "expires_in",
    "refresh_token",
    "token_type",
    "user_id",
  ]);
});

test("a refresh token that is unknown, malformed or expired is refused", async () => {
  const { refresh_token } = await hub.logIn("admin");
  for (const wrong of [`c4r_${"A".repeat(86)}`, "c4r_short", "something else"]) {
    const { status, body } = await hub.call("POST /auth/refresh", { body: { refresh_token: wrong } });
    assert.deepEqual([status, body.error.code], [401, "AUTH_INVALID"]);
  }
  hub.passTime(30 * 86_400_000 + 1000);
  const expired = await hub.call("POST /auth/refresh", { body: { refresh_token } });
  assert.deepEqual([expired.status, expired.body.error.code], [401, "AUTH_EXPIRED"]);
});

test("ended sessions are deleted, and live ones are kept", async () => {
  await hub.logIn("admin");
  hub.passTime(33 * 86_400_000);
  const { refresh_token } = await hub.logIn("admin");

  assert.ok((await deleteOldSessions(hub)) >= 1);

  assert.equal(await deleteOldSessions(hub), 0);
  assert.equal((await hub.call("POST /auth/refresh", { body: { refresh_token } })).status, 200);
});

test("after logout the session's tokens stop working: at once in this process, within 30 s in others", async () => {
  const session = await hub.logIn("admin");
  const other = await hub.logIn("admin");
  assert.equal((await hub.sibling("GET /v1/me", { token: session.access_token })).status, 200);

  const out = await hub.call("POST /auth/logout", { token: session.access_token });

  assert.deepEqual([out.status, out.body], [204, null]);
  assert.equal((await hub.call("GET /v1/me", { token: session.access_token })).body.error.code, "AUTH_INVALID");
  const refresh = await hub.call("POST /auth/refresh", { body: { refresh_token: session.refresh_token } });
  assert.equal(refresh.status, 401);
  hub.passTime(30_000);
  assert.equal((await hub.sibling("GET /v1/me", { token: session.access_token })).status, 401);
  assert.equal((await hub.call("GET /v1/me", { token: other.access_token })).status, 200, "other sessions go on");
});

test("missing, invalid and expired credentials get different codes", async () => {
  const { access_token } = await hub.logIn("admin");
  const none = await hub.call("GET /v1/me");
  assert.deepEqual([none.status, none.body.error.code], [401, "AUTH_REQUIRED"]);
  const [head, claims, signature] = access_token.split(".");
  const forged = Buffer.from(
    JSON.stringify({ ...JSON.parse(Buffer.from(claims, "base64url").toString()), role: "admin", sub: "x" }),
  ).toString("base64url");
  const unsigned = Buffer.from('{"alg":"none","typ":"JWT"}').toString("base64url");
  for (const token of ["garbage", `${head}.${forged}.${signature}`, `${unsigned}.${claims}.`, `${access_token}x`]) {
    const { status, body } = await hub.call("GET /v1/me", { token });
    assert.deepEqual([status, body.error.code], [401, "AUTH_INVALID"], token);
  }
  assert.equal((await hub.call("GET /v1/me", { token: access_token })).status, 200);
  hub.passTime(3_600_000);
  const expired = await hub.call("GET /v1/me", { token: access_token });
  assert.deepEqual([expired.status, expired.body.error.code], [401, "AUTH_EXPIRED"]);
});

test("closed registration rejects new users, and existing users still log in", async () => {
  await using closed = await startIdentityHub({ registration: "closed" });
  const { status, body } = await closed.call("POST /auth/register", { body: newcomer("carla") });
  assert.deepEqual([status, body.error.code], [403, "FORBIDDEN"]);
  assert.equal(
    (await closed.call("POST /auth/token", { body: { username: "admin", password: adminPassword } })).status,
    200,
  );
});
