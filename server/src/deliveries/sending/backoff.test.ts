import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { backoffMs } from "./backoff.ts";

const policy = { baseMs: 1_000, maxMs: 900_000, totalMs: 86_400_000 };

test("waits double up to the maximum", () => {
  const waits = [1, 2, 3, 4, 10, 11, 50, 5_000].map((attempts) => backoffMs(policy, attempts, null, () => 0));
  assert.deepEqual(waits, [1_000, 2_000, 4_000, 8_000, 512_000, 900_000, 900_000, 900_000]);
});

test("jitter shortens a wait by a quarter at most, and never below what the platform asked for", () => {
  const chance = fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 100 }), fc.option(fc.nat(10_000_000)), chance, (attempts, asked, random) => {
      const full = backoffMs(policy, attempts, null, () => 0);
      const wait = backoffMs(policy, attempts, asked, () => random);
      assert.ok(wait >= full * 0.75 - 1);
      assert.ok(wait <= Math.max(full, (asked ?? 0) * 1.05) + 1);
      if (asked !== null) assert.ok(wait >= asked);
    }),
  );
});
