import assert from "node:assert/strict";
import { pino } from "pino";
import { loadConfig } from "./config/config.ts";
import { startHub } from "./hub.ts";
import { testsThatNeed } from "./testing/programs.ts";
import { createTestDatabase } from "./testing/test-database.ts";
import { startTestRedis } from "./testing/test-redis.ts";
import { until } from "./testing/until.ts";

const { test } = testsThatNeed("redis");

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

test("two hubs notify each other over Redis, show it in /readyz, and stay in service without it", async () => {
  await using hubs = await startHubs();
  const { redis, one, two } = hubs;
  const received: string[] = [];
  two.context.fanout.subscribe("test", (message) => void received.push(message));
  one.context.fanout.publish("test", "hello");
  await until("the message arrives", () => received.length === 1);
  // By Redis, and not by the database.
  const { rows } = await one.context.pipelineDb.query(
    "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND (application_name LIKE '%fanout%' OR application_name LIKE '% listen %')",
  );
  assert.deepEqual(rows, []);

  const readiness = async () => {
    const answer = await fetch(`${one.url}/readyz`);
    const body = (await answer.json()) as { status: string; dependencies: Record<string, { state: string }> };
    return [answer.status, body.status, body.dependencies.redis?.state];
  };
  assert.deepEqual(await readiness(), [200, "ready", "up"]);
  await redis.kill();
  await until("Redis is shown as down", async () => (await readiness())[2] === "down");
  assert.deepEqual(await readiness(), [200, "ready", "down"]);
  await redis.start();
  await until("Redis is shown as up again", async () => (await readiness())[2] === "up");
});

test("two hubs count a user's requests together, and each for itself while Redis is away", async () => {
  await using hubs = await startHubs({ RATE_LIMIT_USER: "4/h" });
  const { redis, one, two } = hubs;
  const logIn = await send("POST", `${one.url}/auth/token`, { username: "admin", password: secrets.ADMIN_PASSWORD });
  assert.equal(logIn.headers.get("ratelimit-limit"), "100");
  const { access_token: token } = (await logIn.json()) as { access_token: string };
  const change = (url: string | null) => send("PATCH", `${url}/v1/me`, { display_name: "Ana" }, token);

  const left: (string | null)[] = [];
  for (const hub of [one, two, one]) left.push((await change(hub.url)).headers.get("ratelimit-remaining"));
  assert.deepEqual(left, ["3", "2", "1"]);
  // A batch is one request, however many messages it holds.
  const message = { to: { channel: "nowhere", address: "x" }, payload: { type: "text", text: "oi" } };
  const batch = await send("POST", `${two.url}/v1/messages/batch`, { messages: Array(50).fill(message) }, token);
  assert.equal(batch.headers.get("ratelimit-remaining"), "0");
  for (const hub of [one, two]) {
    const refused = await change(hub.url);
    assert.equal(refused.status, 429);
    assert.ok(Number(refused.headers.get("retry-after")) > 800);
  }
  assert.equal((await send("GET", `${one.url}/v1/me`, undefined, token)).status, 200);

  await redis.kill();
  await until("the connection is gone", () => !one.context.redis!.client.isReady);
  const statuses: number[] = [];
  for (let i = 0; i < 6; i += 1) statuses.push((await change(one.url)).status);
  assert.deepEqual(statuses, [200, 200, 200, 200, 429, 429]);
});

test("two hubs share the rate limit of an API key", async () => {
  await using hubs = await startHubs();
  const { one, two } = hubs;
  const logIn = await send("POST", `${one.url}/auth/token`, { username: "admin", password: secrets.ADMIN_PASSWORD });
  const { access_token: token } = (await logIn.json()) as { access_token: string };
  const made = await send(
    "POST",
    `${one.url}/v1/api-keys`,
    { name: "slow", scopes: ["*"], rate_limit: { per_second: 0.01, burst: 3 } },
    token,
  );
  const { key } = (await made.json()) as { key: string };
  const statuses: number[] = [];
  for (const hub of [one, two, one, two, one]) {
    const contact = { display_name: "Ana" };
    statuses.push((await send("POST", `${hub.url}/v1/contacts`, contact, key)).status);
  }
  assert.deepEqual(statuses, [201, 201, 201, 429, 429]);
});

function send(method: string, url: string, body: object | undefined, token?: string): Promise<Response> {
  return fetch(url, {
    method,
    headers: {
      ...(body === undefined ? {} : { "content-type": "application/json" }),
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
}
