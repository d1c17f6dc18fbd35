/** What rate limits promise wherever they are counted: the same tests over memory and Redis. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { RateLimit, RateLimits } from "../../lib/rate-limits/rate-limits.ts";

interface LimitsHarness extends AsyncDisposable {
  readonly limits: RateLimits;
  /** Lets time pass. */
  pass(ms: number): Promise<void>;
}

/** One token each 10 s, so that a slow machine sees no other than a quick one. */
const limit: RateLimit = { perSecond: 0.1, burst: 4 };

export function rateLimitsSuite(open: () => Promise<LimitsHarness>): void {
  test("a burst passes, then nothing, then one at a time", async () => {
    await using harness = await open();
    const { limits } = harness;
    for (let remaining = 3; remaining >= 0; remaining -= 1) {
      const taken = await limits.take("ana", limit);
      assert.deepEqual([taken.isAllowed, taken.limit, taken.remaining], [true, 4, remaining]);
      assert.equal(taken.retryAfterSeconds, 0);
    }
    const refused = await limits.take("ana", limit);
    assert.deepEqual(refused, { isAllowed: false, limit: 4, remaining: 0, resetSeconds: 40, retryAfterSeconds: 10 });
    await harness.pass(10_000);
    assert.equal((await limits.take("ana", limit)).isAllowed, true);
    assert.equal((await limits.take("ana", limit)).isAllowed, false);
    await harness.pass(40_000);
    assert.equal((await limits.take("ana", limit)).remaining, 3);
  });

  test("keys are counted separately", async () => {
    await using harness = await open();
    await harness.limits.take("ana", limit, 4);
    assert.equal((await harness.limits.take("ana", limit)).isAllowed, false);
    assert.equal((await harness.limits.take("bob", limit)).isAllowed, true);
  });

  test("of many that ask at once, only the burst passes", async () => {
    await using harness = await open();
    const hourly = { perSecond: 1 / 3600, burst: 10 };
    const asked = await Promise.all(Array.from({ length: 50 }, () => harness.limits.take("ana", hourly)));
    assert.equal(asked.filter((taken) => taken.isAllowed).length, 10);
    const { resetSeconds, retryAfterSeconds } = asked.at(-1)!;
    assert.ok(resetSeconds > 35_900 && resetSeconds <= 36_000, `full again after ${resetSeconds} s`);
    assert.ok(retryAfterSeconds > 3_500 && retryAfterSeconds <= 3_600, `one more after ${retryAfterSeconds} s`);
  });

  test("a larger cost takes more, and a cost above the limit takes all", async () => {
    await using harness = await open();
    const { limits } = harness;
    const hourly = { perSecond: 1 / 3600, burst: 4 };
    assert.equal((await limits.take("ana", hourly, 3)).remaining, 1);
    assert.equal((await limits.take("ana", hourly, 2)).isAllowed, false);
    assert.equal((await limits.take("ana", hourly, 1)).remaining, 0);
    assert.equal((await limits.take("bob", hourly, 100)).remaining, 0);
    assert.equal((await limits.take("bob", hourly, 100)).isAllowed, false);
  });

  test("a smaller limit counts at once, and no key owes more than its bucket", async () => {
    await using harness = await open();
    const { limits } = harness;
    for (let i = 0; i < 10; i += 1) await limits.take("ana", { perSecond: 1 / 3600, burst: 10 });
    assert.equal((await limits.take("ana", limit)).isAllowed, false);
    await harness.pass(10_000);
    assert.equal((await limits.take("ana", limit)).isAllowed, true);
    assert.equal((await limits.take("ana", limit)).isAllowed, false);
  });
}
