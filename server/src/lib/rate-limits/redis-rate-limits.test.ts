import assert from "node:assert/strict";
import { testsThatNeed } from "../../testing/programs.ts";
import { rateLimitsSuite } from "../../testing/suites/rate-limits-suite.ts";
import { startTestRedis } from "../../testing/test-redis.ts";
import { until } from "../../testing/until.ts";
import { systemClock } from "../clock.ts";
import type { Log } from "../postgres.ts";
import { openRedis } from "../redis.ts";
import { keyPrefix, openRedisRateLimits } from "./redis-rate-limits.ts";

const { describe, test } = testsThatNeed("redis");

const hourly = { perSecond: 1 / 3600, burst: 10 };

async function open() {
  await using stack = new AsyncDisposableStack();
  const server = stack.use(await startTestRedis());
  const warnings: string[] = [];
  const log: Log = { info() {}, warn: (_fields, message) => void warnings.push(message), error() {} };
  const openProcess = async () => {
    const redis = opened.use(await openRedis({ url: server.url, name: "test", clock: systemClock, log }));
    return { redis, limits: openRedisRateLimits({ client: redis.client, clock: systemClock, log }) };
  };
  const opened = stack.move();
  const { redis, limits } = await openProcess();
  return {
    server,
    limits,
    client: redis.client,
    warnings,
    openProcess,
    /** Redis has a clock of its own, which cannot be held: what it keeps is moved into the past instead. */
    async pass(ms: number) {
      for (const key of await redis.client.keys(`${keyPrefix}*`)) {
        await redis.client.set(key, String(Number(await redis.client.get(key)) - ms));
      }
    },
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

describe("Redis", () => {
  rateLimitsSuite(open);
});

test("processes share a limit", async () => {
  await using harness = await open();
  const other = await harness.openProcess();
  const asked = await Promise.all(
    Array.from({ length: 40 }, (_, index) => (index % 2 ? harness : other).limits.take("ana", hourly)),
  );
  assert.equal(asked.filter((taken) => taken.isAllowed).length, 10);
});

test("a bucket that is full again leaves nothing in Redis", async () => {
  await using harness = await open();
  await harness.limits.take("ana", { perSecond: 50, burst: 5 });
  await harness.limits.take("bob", hourly);
  await until("one key is left", async () => (await harness.client.keys("*")).length === 1);
  const ttl = await harness.client.pTTL(`${keyPrefix}bob`);
  assert.ok(ttl > 3_500_000 && ttl <= 3_600_000, `${ttl} ms to live`);
});

// A Redis that is away must neither let everything through nor stop everybody.
test("while Redis is away each process still limits, and counts in common again when it is back", async () => {
  await using harness = await open();
  const { limits, server, client } = harness;
  for (let i = 0; i < 10; i += 1) await limits.take("ana", hourly);
  await server.kill();
  await until("the connection is gone", () => !client.isReady);
  const asked = await Promise.all(Array.from({ length: 50 }, () => limits.take("ana", hourly)));
  assert.equal(asked.filter((taken) => taken.isAllowed).length, 10);
  await server.start();
  await until("it counts in Redis again", async () => {
    await limits.take("bob", hourly);
    return client.isReady && (await client.exists(`${keyPrefix}bob`)) === 1;
  });
});

test("a Redis that hangs delays one request", async () => {
  await using harness = await open();
  const { limits, server, warnings } = harness;
  await limits.take("ana", hourly);
  server.hang();
  const asked = await Promise.all(Array.from({ length: 20 }, () => limits.take("ana", hourly)));
  assert.equal(asked.filter((taken) => taken.isAllowed).length, 10);
  const later = limits.take("ana", hourly);
  assert.ok(!(later instanceof Promise), "it asks Redis again at once");
  assert.deepEqual(warnings, ["rate limits: counted in this process for now"]);
  server.goOn();
});

test("sends the script again to a Redis that has forgotten it", async () => {
  await using harness = await open();
  await harness.limits.take("ana", hourly);
  await harness.client.scriptFlush();
  assert.equal((await harness.limits.take("ana", hourly)).remaining, 8);
  assert.deepEqual(harness.warnings, []);
});
