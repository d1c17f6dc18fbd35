import assert from "node:assert/strict";
import { test } from "node:test";
import { systemClock } from "../lib/clock.ts";
import { newId } from "../lib/ids.ts";
import { all, run } from "../lib/query.ts";
import { startPipeline } from "../testing/test-pipeline.ts";
import { makePastPartitions, watchPartitions } from "../testing/watch-partitions.ts";
import { countHour, countHours, hourOf } from "./count-hours.ts";
import { readStats } from "./stats.ts";

const hourMs = 60 * 60_000;
const dayMs = 24 * hourMs;
const laterBy = (ms: number) => ({ ...systemClock, now: () => Date.now() + ms });

async function startTest() {
  const line = await startPipeline();
  const { pipelineDb, dbOf } = line.databases;
  return {
    line,
    count: (aheadMs: number) => countHours({ db: pipelineDb, clock: laterBy(aheadMs) }),
    read: (aheadMs = 0, periodMs = dayMs, workspaceId = line.workspaceId) =>
      readStats({ pipelineDb, clock: laterBy(aheadMs) }, dbOf(workspaceId), workspaceId, periodMs),
    [Symbol.asyncDispose]: () => line[Symbol.asyncDispose](),
  };
}

const sent = { channel: "phone", status: "sent", count: 3 };
const written = { channel: null, direction: "outbound", count: 3 };

test("what was just done is counted at once, and its hour once when it is over", async () => {
  await using hub = await startTest();
  const { line } = hub;
  const chat = await line.addConversation(await line.addPerson("ana"));
  for (const text of ["one", "two", "three"]) await line.say(chat, text);
  await line.settled();
  const now = await hub.read();
  assert.deepEqual([now.messages, now.deliveries], [[written], [sent]]);
  assert.ok(now.until > now.since);
  assert.equal(await hub.count(0), 0, "the hour is not over");

  assert.ok((await hub.count(2 * hourMs)) >= 1);
  assert.equal(await hub.count(2 * hourMs), 0, "all hours are counted");
  // As if they had never been: only the counts of the hour know them.
  await run(line.admin, "TRUNCATE messages, deliveries");
  const counted = await hub.read(2 * hourMs);
  assert.deepEqual([counted.messages, counted.deliveries], [[written], [sent]]);
  assert.deepEqual((await hub.read(2 * hourMs, dayMs, newId(Date.now()))).deliveries, [], "for its workspace alone");
  assert.deepEqual((await hub.read(26 * hourMs)).deliveries, [], "no longer in the period");
  assert.deepEqual((await hub.read(26 * hourMs, 7 * dayMs)).deliveries, [sent]);

  // After a day statuses have changed: here the messages are gone.
  assert.ok((await hub.count(26 * hourMs)) >= 24);
  assert.deepEqual((await hub.read(26 * hourMs, 7 * dayMs)).deliveries, []);
});

test("hours are counted by several processes at once, and forgotten after the longest period", async () => {
  await using hub = await startTest();
  const { line } = hub;
  await line.say(await line.addConversation(await line.addPerson("ana")), "one");
  await line.settled();
  await Promise.all([1, 2, 3].map(() => hub.count(3 * hourMs)));
  assert.deepEqual((await hub.read(3 * hourMs)).deliveries, [{ ...sent, count: 1 }]);
  await hub.count(32 * dayMs);
  assert.deepEqual(await all(line.admin, "SELECT FROM hourly_counts"), []);
});

test("what is in no counted hour yet is left out when counting it takes too long", async () => {
  await using hub = await startTest();
  const { line } = hub;
  await line.say(await line.addConversation(await line.addPerson("ana")), "one");
  await line.settled();
  await hub.count(2 * hourMs);
  await using locked = await line.admin.connect().then((client) => ({
    client,
    async [Symbol.asyncDispose]() {
      await client.query("ROLLBACK");
      client.release();
    },
  }));
  await locked.client.query("BEGIN; LOCK TABLE deliveries IN ACCESS EXCLUSIVE MODE");
  const { deliveries, until } = await hub.read(2 * hourMs);
  assert.deepEqual(deliveries, [{ ...sent, count: 1 }]);
  assert.equal(until.getTime() % hourMs, 0, "until the end of a counted hour");
});

test("an hour is counted in the partitions of its time", async () => {
  await using hub = await startTest();
  const { line } = hub;
  await makePastPartitions(line.admin);
  await line.say(await line.addConversation(await line.addPerson("ana")), "one");
  await line.settled();
  const month = new Date().toISOString().slice(0, 7).replace("-", "");
  await using watched = watchPartitions(line.url, ["role=chat4all_pipeline"]);
  await countHour(watched.db, new Date(hourOf(Date.now())), new Date());
  const deliveries = watched.partitionsRead().filter((name) => name.startsWith("deliveries_from"));
  assert.deepEqual(deliveries, [`deliveries_from_${month}01`]);
  assert.equal((await all<{ count: number }>(line.admin, "SELECT count FROM hourly_counts")).length, 2);
});
