import assert from "node:assert/strict";
import { test } from "node:test";
import { readHead } from "../events/events.ts";
import { type Clock, systemClock } from "../lib/clock.ts";
import { appendEvents, countingDb } from "../testing/test-feeds.ts";
import { startPipeline } from "../testing/test-pipeline.ts";
import { FeedCache } from "./feed-cache.ts";

test("clients that resume one after the other from the same cursor share its check", async () => {
  await using line = await startPipeline({ delivers: false });
  const chat = await line.addConversation(await line.addPerson("ana"));
  await appendEvents(line, chat, 3);
  const position = await readHead(line.pool, line.workspaceId);
  const { db, count } = countingDb(line.pool);
  let pass = () => {};
  const clock: Clock = {
    ...systemClock,
    after(_, callback) {
      pass = callback;
      return () => {};
    },
  };
  const cache = new FeedCache(db, clock);
  const check = (at: number) => cache.check(line.workspaceId, { position: at, mark: null });
  for (let client = 0; client < 10; client += 1) assert.equal(await check(position), null);
  assert.equal(count(), 1);
  assert.equal(await check(position - 1), null);
  assert.equal(await check(position + 5), "unknown");
  assert.equal(count(), 3);
  pass();
  await check(position + 5);
  assert.equal(count(), 4, "after a second it is checked again");
  cache.forget(line.workspaceId);
  await check(position);
  assert.equal(count(), 5, "a feed that was replaced is checked again");
});
