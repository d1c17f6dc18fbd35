import assert from "node:assert/strict";
import { test } from "node:test";
import { pino } from "pino";
import { loadConfig } from "./config.ts";
import { startHub } from "./hub.ts";
import { createTestDatabase } from "./testing/test-database.ts";
import { startTestRedis } from "./testing/test-redis.ts";
import { until } from "./testing/until.ts";

const secrets = { JWT_SECRET: "j".repeat(32), ENCRYPTION_KEY: "ab".repeat(32), ADMIN_PASSWORD: "a password" };

async function startHubs(more: Record<string, string> = {}) {
  await using stack = new AsyncDisposableStack();
  const redis = stack.use(await startTestRedis());
  const database = stack.use(await createTestDatabase());
  const start = async () =>
    stack.use(
      await startHub({
        config: loadConfig(
          { ...secrets, PORT: "0", DATABASE_URL: database.url, REDIS_URL: redis.url, ROLES: "api", ...more },
          { envFile: null },
        ),
        log: pino({ level: "silent" }),
        onFailed: (error) => assert.fail(error),
      }),
    );
  const [one, two] = [await start(), await start()];
  const opened = stack.move();
  return { redis, one, two, [Symbol.asyncDispose]: () => opened.disposeAsync() };
}

test("two hubs tell each other over Redis, show it in /readyz, and stay in service without it", async () => {
  await using hubs = await startHubs();
  const { redis, one, two } = hubs;
  const heard: string[] = [];
  two.context.fanout.subscribe("test", (message) => void heard.push(message));
  one.context.fanout.publish("test", "hello");
  await until(() => heard.length === 1, 5_000, "it did not hear");
  // By Redis, and not by the database.
  const { rows } = await one.context.pipelineDb.query(
    "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE '%fanout%'",
  );
  assert.deepEqual(rows, []);

  const readiness = async () => {
    const answer = await fetch(`${one.url}/readyz`);
    const body = (await answer.json()) as { status: string; dependencies: Record<string, { state: string }> };
    return [answer.status, body.status, body.dependencies.redis?.state];
  };
  assert.deepEqual(await readiness(), [200, "ready", "up"]);
  await redis.kill();
  await until(async () => (await readiness())[2] === "down", 5_000, "it is not shown as down");
  assert.deepEqual(await readiness(), [200, "ready", "down"]);
  await redis.start();
  await until(async () => (await readiness())[2] === "up", 10_000, "it is not shown as up again");
});

test("two hubs count a user's requests together, and each for itself while Redis is away", async () => {
  await using hubs = await startHubs({ RATE_LIMIT_USER: "4/h" });
  const { redis, one, two } = hubs;
  const logIn = await fetch(`${one.url}/auth/token`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ username: "admin", password: secrets.ADMIN_PASSWORD }),
  });
  assert.equal(logIn.headers.get("ratelimit-limit"), "100");
  const { access_token } = (await logIn.json()) as { access_token: string };
  const send = (url: string | null, path: string, body: object) =>
    fetch(`${url}${path}`, {
      method: path === "/v1/me" ? "PATCH" : "POST",
      headers: { "content-type": "application/json", authorization: `Bearer ${access_token}` },
      body: JSON.stringify(body),
    });
  const change = (url: string | null) => send(url, "/v1/me", { display_name: "Ana" });

  const left: (string | null)[] = [];
  for (const hub of [one, two, one]) left.push((await change(hub.url)).headers.get("ratelimit-remaining"));
  assert.deepEqual(left, ["3", "2", "1"]);
  // A batch is one request, however many messages it holds.
  const message = { to: { channel: "nowhere", address: "x" }, payload: { type: "text", text: "oi" } };
  const batch = await send(two.url, "/v1/messages/batch", { messages: Array(50).fill(message) });
  assert.equal(batch.headers.get("ratelimit-remaining"), "0");
  for (const hub of [one, two]) {
    const refused = await change(hub.url);
    assert.equal(refused.status, 429);
    assert.ok(Number(refused.headers.get("retry-after")) > 800);
  }
  assert.equal((await fetch(`${one.url}/v1/me`, { headers: { authorization: `Bearer ${access_token}` } })).status, 200);

  await redis.kill();
  await until(() => !one.context.redis!.client.isReady, 5_000, "the connection still stands");
  const statuses: number[] = [];
  for (let i = 0; i < 6; i += 1) statuses.push((await change(one.url)).status);
  assert.deepEqual(statuses, [200, 200, 200, 200, 429, 429]);
});
