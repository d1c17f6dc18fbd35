import assert from "node:assert/strict";
import { test } from "node:test";
import { doubledMs } from "./backoff.ts";

test("a pause doubles with each failure, up to the longest, however many there are", () => {
  const backoff = { firstMs: 250, longestMs: 5_000 };
  const pauses = [1, 2, 3, 5, 6, 5_000].map((failures) => doubledMs(backoff, failures));
  assert.deepEqual(pauses, [250, 500, 1_000, 4_000, 5_000, 5_000]);
});
