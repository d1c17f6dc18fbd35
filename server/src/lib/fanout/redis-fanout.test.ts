import assert from "node:assert/strict";
import { testsThatNeed } from "../../testing/programs.ts";
import { type FanoutHarness, ownMessagesSuite, sharedFanoutSuite } from "../../testing/suites/fanout-suite.ts";
import { startTestRedis } from "../../testing/test-redis.ts";
import { until } from "../../testing/until.ts";
import { systemClock } from "../clock.ts";
import type { Log } from "../postgres.ts";
import { openRedis } from "../redis.ts";
import { openRedisFanout, redisChannel } from "./redis-fanout.ts";

const { describe, test } = testsThatNeed("redis");

async function openHarness(): Promise<FanoutHarness> {
  const redis = await startTestRedis();
  const warnings: string[] = [];
  const log: Log = { info() {}, warn: (_fields, message) => void warnings.push(message), error() {} };
  return {
    warnings,
    open: () => openRedisFanout({ url: redis.url, clock: systemClock, log }),
    killServer: redis.kill,
    startServer: redis.start,
    async countPayloads() {
      const listener = await openRedis({ url: redis.url, name: "test", clock: systemClock, log });
      let count = 0;
      await listener.client.subscribe(redisChannel(redis.url), () => {
        count += 1;
      });
      return { count: () => count, [Symbol.asyncDispose]: () => listener[Symbol.asyncDispose]() };
    },
    [Symbol.asyncDispose]: () => redis[Symbol.asyncDispose](),
  };
}

describe("Redis", () => {
  ownMessagesSuite(openHarness);
  sharedFanoutSuite(openHarness);
});

test("databases of one Redis do not get each other's messages", async () => {
  await using redis = await startTestRedis();
  const log: Log = { info() {}, warn() {}, error() {} };
  await using one = await openRedisFanout({ url: `${redis.url}/1`, clock: systemClock, log });
  await using two = await openRedisFanout({ url: `${redis.url}/2`, clock: systemClock, log });
  await using again = await openRedisFanout({ url: `${redis.url}/1`, clock: systemClock, log });
  two.subscribe("events", () => assert.fail("it is of another database"));
  const received: string[] = [];
  again.subscribe("events", (message) => void received.push(message));
  one.publish("events", "a");
  await until("the message is received", () => received.length === 1);
});

test("a Redis that does not respond, or refuses the password or the channel, ends the start with one sentence", async () => {
  const log: Log = { info() {}, warn() {}, error() {} };
  const hasty = { ...systemClock, after: (ms: number, call: () => void) => systemClock.after(ms / 50, call) };
  await assert.rejects(openRedisFanout({ url: "redis://127.0.0.1:1", clock: hasty, log }), {
    name: "StartError",
    message: /^The Redis of REDIS_URL cannot be used \(.*ECONNREFUSED.*\): start it, or correct the URL\.$/,
  });
  await using redis = await startTestRedis();
  const wrong = redis.url.replace("redis://", "redis://:secret@");
  await assert.rejects(openRedisFanout({ url: wrong, clock: systemClock, log }), {
    name: "StartError",
    message: /AUTH/,
  });
  // A user of Redis 7 may use no channels unless its ACL allows them.
  await using admin = await openRedis({ url: redis.url, name: "test", clock: systemClock, log });
  await admin.client.sendCommand(["ACL", "SETUSER", "hub", "on", ">secret", "+@all", "~*", "resetchannels"]);
  const limited = redis.url.replace("redis://", "redis://hub:secret@");
  await assert.rejects(openRedisFanout({ url: limited, clock: systemClock, log }), {
    name: "StartError",
    message: /^The Redis of REDIS_URL cannot be used \(NOPERM .*\): start it, or correct the URL\.$/,
  });
});
