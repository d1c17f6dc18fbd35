import assert from "node:assert/strict";
import { test } from "node:test";
import { maxDelayMs, pause, systemClock } from "./clock.ts";

test("a pause ends with its time, or at once with its signal", async () => {
  await pause(systemClock, 1);
  const aborted = new AbortController();
  const waiting = pause(systemClock, 3_600_000, aborted.signal);
  aborted.abort();
  await waiting;
  await pause(systemClock, 3_600_000, aborted.signal);
});

// Node ends a timer that is too long after a millisecond: a wait of a month would become a busy loop.
test("a wait longer than the longest timer does not go off at once", async () => {
  let isOff = false;
  const cancel = systemClock.after(maxDelayMs * 1_000, () => {
    isOff = true;
  });
  await pause(systemClock, 20);
  assert.equal(isOff, false);
  cancel();
  cancel();
});
