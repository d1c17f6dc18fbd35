import assert from "node:assert/strict";
import { test } from "node:test";
import { pino } from "pino";
import { loadConfig } from "./config.ts";
import { startHub } from "./hub.ts";
import { createTestDatabase } from "./testing/test-database.ts";
import { startTestRedis } from "./testing/test-redis.ts";
import { until } from "./testing/until.ts";

const secrets = { JWT_SECRET: "j".repeat(32), ENCRYPTION_KEY: "ab".repeat(32), ADMIN_PASSWORD: "a password" };

test("two hubs tell each other over Redis, show it in /readyz, and stay in service without it", async () => {
  await using redis = await startTestRedis();
  await using database = await createTestDatabase();
  const start = () =>
    startHub({
      config: loadConfig(
        { ...secrets, PORT: "0", DATABASE_URL: database.url, REDIS_URL: redis.url, ROLES: "api" },
        { envFile: null },
      ),
      log: pino({ level: "silent" }),
      onFailed: (error) => assert.fail(error),
    });
  await using one = await start();
  await using two = await start();

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
