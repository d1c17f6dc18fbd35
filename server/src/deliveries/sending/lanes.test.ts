import assert from "node:assert/strict";
import { test } from "node:test";
import type { ChannelAccountId } from "../../lib/ids.ts";
import { Lane, maxQueued } from "./lanes.ts";

const account = "account" as ChannelAccountId;
const waiting = (ordinal: number) => ({ deliveryId: `d${ordinal}`, ordinal });

test("deliveries queue up in order, each once", () => {
  const lane = new Lane("lane", account, 0);
  for (const ordinal of [1, 2, 2, 5, 1]) lane.enqueue(waiting(ordinal));
  assert.deepEqual(
    lane.queue.map((one) => one.ordinal),
    [1, 2, 5],
  );
  assert.equal(lane.isComplete, true);
});

test("deliveries beyond the limit wait in the database, and so do those behind them", () => {
  const lane = new Lane("lane", account, 0);
  for (let ordinal = 1; ordinal <= maxQueued + 5; ordinal += 1) lane.enqueue(waiting(ordinal));
  assert.equal(lane.queue.length, maxQueued);
  lane.queue.length = 0;
  lane.enqueue(waiting(maxQueued + 6));
  assert.equal(lane.queue.length, 0);
  assert.equal(lane.isComplete, false);
  lane.startLoading();
  assert.equal(lane.lastOrdinal, maxQueued);
});

test("nothing is queued while a lane is loaded: it is loaded again", () => {
  const lane = new Lane("lane", account, 0);
  lane.startLoading();
  lane.enqueue(waiting(1));
  assert.deepEqual([lane.queue.length, lane.isComplete], [0, false]);
});

test("a lower place that becomes known late is loaded from there", () => {
  const lane = new Lane("lane", account, 0);
  lane.enqueue(waiting(7));
  lane.queue.shift();
  lane.enqueue(waiting(5));
  lane.enqueue(waiting(6));
  lane.enqueue(waiting(8));
  assert.deepEqual([lane.queue.length, lane.isComplete], [0, false]);
  lane.startLoading();
  assert.equal(lane.lastOrdinal, 4);
  lane.startLoading();
  assert.equal(lane.lastOrdinal, 4);
});

// Once it was not loaded, and waited for the next start.
test("a place that becomes known while the lane is loaded is sent, even when the load has found a later one", () => {
  const lane = new Lane("lane", account, 0);
  lane.startLoading();
  lane.enqueue(waiting(1));
  lane.loaded([waiting(2)]);
  assert.deepEqual(lane.queue, [waiting(2)]);
  assert.deepEqual([lane.isComplete, lane.lastOrdinal], [false, 0]);
});
