import assert from "node:assert/strict";
import { test } from "node:test";
import { patient } from "../../server/src/testing/patience.ts";
import { moved, Standstill, supervise } from "./movement.ts";

test("a bench in which nothing moves fails and names the last movement", async () => {
  using supervision = supervise(200);
  moved("13 of 20 messages were received");
  await assert.rejects(supervision.standstill, (error) => {
    assert.ok(error instanceof Standstill);
    assert.match(error.message, /^Nothing has moved for 0\.2 s\. .*: 13 of 20 messages were received\.$/);
    return true;
  });
});

test("a slow bench keeps running while something moves", async () => {
  const limitMs = patient(1_000);
  using supervision = supervise(limitMs);
  let isStill = false;
  supervision.standstill.catch(() => {
    isStill = true;
  });
  const until = performance.now() + 2 * limitMs;
  while (performance.now() < until) {
    moved("a step");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.equal(isStill, false);
});
