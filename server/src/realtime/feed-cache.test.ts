import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { readHead } from "../events/events.ts";
import { type Clock, systemClock } from "../lib/clock.ts";
import { appendEvents, countingDb } from "../testing/test-feeds.ts";
import { startPipeline } from "../testing/test-pipeline.ts";
import { until } from "../testing/until.ts";
import { FeedCache } from "./feed-cache.ts";

// In a storm of reconnecting clients a check of cursors would follow the other as fast as the database responds.
test("many clients that resume at about the same time share the checks of their cursors, and a few do not wait", async () => {
  await using line = await startPipeline({ delivers: false });
  await appendEvents(line, await line.addConversation(await line.addPerson("ana")), 3);
  const head = await readHead(line.pool, line.workspaceId);
  const { db, count } = countingDb(line.pool);
  let nowMs = 0;
  const timers: (() => void)[] = [];
  const clock: Clock = {
    ...systemClock,
    elapsed: () => nowMs,
    after(_, callback) {
      timers.push(callback);
      return () => {};
    },
  };
  const cache = new FeedCache(db, clock);
  const check = (position: number) => cache.check(line.workspaceId, { position, mark: null });

  assert.equal(await check(head), null);
  assert.equal(await check(head - 1), null);
  assert.equal(count(), 2);
  for (let turn = 0; turn < 3; turn += 1) await Promise.all(Array.from({ length: 7 }, () => check(head)));
  assert.equal(count(), 5, "a few clients do not wait");
  await Promise.all(Array.from({ length: 8 }, () => check(head)));
  assert.equal(count(), 6);
  const later: Promise<string | null>[] = [];
  for (let turn = 0; turn < 20; turn += 1) {
    later.push(check(turn % 2 === 0 ? head : head + 5));
    await setImmediate();
  }
  await until("the next check waits", () => timers.length === 1);
  assert.equal(count(), 6);
  nowMs += 1_000;
  timers[0]!();
  assert.deepEqual(
    await Promise.all(later),
    later.map((_, turn) => (turn % 2 === 0 ? null : "unknown")),
  );
  assert.equal(count(), 7);
});
