import assert from "node:assert/strict";
import { before, test } from "node:test";
import { errorCodes, RequestError } from "../errors.ts";
import { closeAfterTests } from "../testing/close-after-tests.ts";
import { type IdentityHub, startIdentityHub } from "../testing/identity-hub.ts";
import { until } from "../testing/until.ts";
import { deleteOldIdempotencyKeys } from "./idempotency-keys.ts";

let hub: IdentityHub;
let token: string;
/** With what the next requests to `/v1/refusals` are refused. */
const refusals: RequestError[] = [];
const opened = closeAfterTests();
before(async () => {
  hub = opened.use(
    await startIdentityHub({
      more: (app) => {
        const config = { access: { role: "member" }, idempotent: true } as const;
        app.post("/v1/things", { config }, async () => ({ said: "done" }));
        app.post("/v1/refusals", { config }, async () => {
          const error = refusals.shift();
          if (error !== undefined) throw error;
          return { said: "done" };
        });
      },
    }),
  );
  token = (await hub.logIn("admin")).access_token;
});

const makeKey = (idempotencyKey: string, body: object = { name: "one" }, caller = token) =>
  hub.call("POST /v1/api-keys", { token: caller, body: { scopes: ["*"], ...body }, idempotencyKey });

async function countKeys(name: string): Promise<number> {
  const { rows } = await hub.db.query("SELECT count(*) AS n FROM api_keys WHERE name = $1", [name]);
  return rows[0].n;
}

test("the same key and body get the same response, and the operation runs once", async () => {
  const first = await makeKey("same", { name: "same", scopes: ["users:read"] });
  const again = await makeKey("same", { scopes: ["users:read"], name: "same" });

  assert.equal(first.status, 201);
  assert.equal(first.headers.get("idempotent-replayed"), null);
  assert.deepEqual([again.status, again.body], [201, first.body]);
  assert.equal(again.headers.get("idempotent-replayed"), "true");
  assert.equal(again.headers.get("content-type"), first.headers.get("content-type"));
  assert.equal(await countKeys("same"), 1);
});

test("the same key with another body, or on another route, is refused", async () => {
  await makeKey("other", { name: "other" });
  const otherBody = await makeKey("other", { name: "another" });
  assert.deepEqual([otherBody.status, otherBody.body.error.code], [409, "IDEMPOTENCY_CONFLICT"]);
  const body = { name: "other", admin: { username: "other", email: "o@example.com", password: "a long one" } };
  const otherRoute = await hub.call("POST /v1/workspaces", { token, body, idempotencyKey: "other" });
  assert.equal(otherRoute.body.error.code, "IDEMPOTENCY_CONFLICT");
});

test("50 parallel requests with one key run the operation once", async () => {
  const answers = await Promise.all(Array.from({ length: 50 }, () => makeKey("parallel", { name: "parallel" })));

  assert.equal(await countKeys("parallel"), 1);
  const done = answers.filter(({ status }) => status === 201);
  assert.ok(done.length >= 1);
  assert.equal(new Set(done.map(({ body }) => body.key)).size, 1);
  assert.equal(done.filter(({ headers }) => headers.get("idempotent-replayed") === null).length, 1);
  for (const { status, body, headers } of answers.filter((answer) => answer.status !== 201)) {
    assert.deepEqual([status, body.error.code], [409, "CONFLICT"]);
    assert.ok(Number(headers.get("retry-after")) >= 1);
  }
});

test("each caller has its own keys", async () => {
  const { body: key } = await makeKey("first caller", { name: "caller" });
  await makeKey("shared", { name: "shared" });
  const other = await makeKey("shared", { name: "not the same" }, key.key);
  assert.equal(other.status, 201);
});

test("an error of the operation is remembered as the response", async () => {
  const body = { username: "admin", email: "a@example.com", password: "a long one", role: "agent" };
  const call = () => hub.call("POST /v1/users", { token, body, idempotencyKey: "taken" });
  const [first, again] = [await call(), await call()];
  assert.equal(first.status, 409);
  assert.deepEqual([again.status, again.body], [409, first.body]);
  assert.equal(again.headers.get("idempotent-replayed"), "true");
});

test("errors of the request itself are remembered, errors that time or others can remove are not", async () => {
  for (const [code, isRemembered] of [
    ["VALIDATION_ERROR", true],
    ["CONFLICT", true],
    ["NO_ROUTE", true],
    ["AUTH_EXPIRED", false],
    ["FORBIDDEN", false],
    ["RESOURCE_NOT_FOUND", false],
    ["RATE_LIMIT_EXCEEDED", false],
    ["OVERLOADED", false],
    ["INTERNAL", false],
  ] as const) {
    refusals.push(new RequestError(code, "Not now."));
    const call = () => hub.call("POST /v1/refusals", { token, body: {}, idempotencyKey: `refused ${code}` });
    const [first, again] = [await call(), await call()];
    assert.equal(first.status, errorCodes[code].http);
    assert.deepEqual([code, again.status], [code, isRemembered ? first.status : 200]);
    assert.equal(again.headers.get("idempotent-replayed"), isRemembered ? "true" : null);
  }
});

test("a conflict that asks for a retry is not remembered", async () => {
  refusals.push(new RequestError("CONFLICT", "Just now; try again.", { retryAfterSeconds: 1 }));
  const call = () => hub.call("POST /v1/refusals", { token, body: {}, idempotencyKey: "passing conflict" });
  assert.deepEqual([(await call()).status, (await call()).status], [409, 200]);
});

test("a request that was refused before the operation began does not use the key", async () => {
  assert.equal((await makeKey("typo", { nmae: "typo" })).status, 400);
  assert.equal((await makeKey("typo", { name: "typo" })).status, 201);
});

test("a body nested too deeply to be compared is refused, and does not use the key", async () => {
  const nested = `{"name":"deep","expires_at":${'{"a":'.repeat(50_000)}1${"}".repeat(50_000)}}`;
  const refused = await hub.call("POST /v1/things", { token, body: nested, idempotencyKey: "deep" });
  assert.deepEqual([refused.status, refused.body.error.code], [400, "VALIDATION_ERROR"]);
  assert.equal((await makeKey("deep", { name: "deep" })).status, 201);
});

test("an internal error releases the key", async () => {
  await hub.db.query("ALTER TABLE api_keys RENAME TO away");
  const failed = await makeKey("failed", { name: "failed" });
  await hub.db.query("ALTER TABLE away RENAME TO api_keys");
  assert.equal(failed.status, 500);
  const again = await makeKey("failed", { name: "failed" });
  assert.deepEqual([again.status, again.headers.get("idempotent-replayed")], [201, null]);
});

// The process died between the claim and the response.
test("a key in use is refused for 60 s, then released", async () => {
  await makeKey("died", { name: "died" });
  await hub.db.query("UPDATE idempotency_keys SET status_code = NULL, answer_sealed = NULL WHERE key = 'died'");
  assert.equal((await makeKey("died", { name: "died" })).body.error.code, "CONFLICT");
  hub.passTime(60_000);
  assert.equal((await makeKey("died", { name: "died" })).status, 201);
});

test("a client that disconnected gets the response when it retries", async () => {
  const blocker = await hub.db.connect();
  await blocker.query("BEGIN");
  // The work waits to be recorded.
  await blocker.query("LOCK TABLE audit_log IN ACCESS EXCLUSIVE MODE");
  const abort = new AbortController();
  const port = (hub.app.server.address() as { port: number }).port;
  const hungUp = fetch(`http://127.0.0.1:${port}/v1/api-keys`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json", "idempotency-key": "hung up" },
    body: JSON.stringify({ name: "hung up", scopes: ["*"] }),
    signal: abort.signal,
  });
  await untilClaimed("hung up");
  abort.abort();
  await assert.rejects(hungUp);
  await blocker.query("COMMIT");
  blocker.release();
  await untilAnswered("hung up");
  const again = await makeKey("hung up", { name: "hung up" });
  assert.deepEqual([again.status, again.headers.get("idempotent-replayed")], [201, "true"]);
  assert.equal(await countKeys("hung up"), 1);
});

test("keys are kept 24 h", async () => {
  await makeKey("old", { name: "old" });
  const replayed = async () => (await makeKey("old", { name: "old" })).headers.get("idempotent-replayed");
  hub.passTime(24 * 3_600_000 - 1);
  token = (await hub.logIn("admin")).access_token;
  assert.equal(await replayed(), "true");
  hub.passTime(1);
  assert.ok((await deleteOldIdempotencyKeys(hub)) >= 1);
  assert.equal(await replayed(), null);
});

test("a registration can be repeated, and keys of different clients are separate", async () => {
  const register = (username: string) =>
    hub.call("POST /auth/register", {
      body: { username, email: `${username}@example.com`, password: "a long enough one" },
      idempotencyKey: "1",
    });
  const first = await register("stranger");
  const again = await register("stranger");
  assert.deepEqual([again.status, again.body], [201, first.body]);
  assert.equal((await register("another")).status, 201);
});

test("the table contains neither requests nor responses in clear text", async () => {
  const { body } = await makeKey("secret", { name: "secret" });
  const { rows } = await hub.db.query("SELECT * FROM idempotency_keys WHERE key = 'secret'");
  assert.equal(rows.length, 1);
  for (const column of Object.values(rows[0])) assert.ok(!Buffer.from(String(column)).includes(body.key));
});

test("a key is 1 to 255 printable characters", async () => {
  assert.equal((await makeKey("x".repeat(255))).status, 201);
  for (const wrong of ["x".repeat(256), "é", ""]) {
    const { status, body } = await makeKey(wrong);
    assert.deepEqual([status, body.error.code, body.error.details.field], [400, "VALIDATION_ERROR", "idempotency-key"]);
  }
});

const untilClaimed = (key: string) => untilRow("key = $1", key);
const untilAnswered = (key: string) => untilRow("key = $1 AND status_code IS NOT NULL", key);

function untilRow(condition: string, key: string): Promise<true> {
  return until(`a row has ${condition}`, async () => {
    const { rowCount } = await hub.db.query(`SELECT FROM idempotency_keys WHERE ${condition}`, [key]);
    return rowCount === 1;
  });
}
