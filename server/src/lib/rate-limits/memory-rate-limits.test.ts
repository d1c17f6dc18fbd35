import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { rateLimitsSuite } from "../../testing/suites/rate-limits-suite.ts";
import { addressKey } from "./address-key.ts";
import { openMemoryRateLimits } from "./memory-rate-limits.ts";

function open(most?: number) {
  let now = 1_000_000;
  const limits = openMemoryRateLimits({ elapsed: () => now }, most);
  return {
    limits,
    pass: async (ms: number) => {
      now += ms;
    },
    async [Symbol.asyncDispose]() {},
  };
}

rateLimitsSuite(async () => open());

test("however it is asked, no stretch of time has more than the burst and what was gained in it", () => {
  const rate = fc.record({
    perSecond: fc.double({ min: 0.01, max: 1_000, noNaN: true }),
    burst: fc.integer({ min: 1, max: 50 }),
  });
  const pauses = fc.array(fc.nat(3_000), { minLength: 1, maxLength: 200 });
  fc.assert(
    fc.property(rate, pauses, (limit, waits) => {
      const { limits, pass } = open();
      const allowedAt: number[] = [];
      let now = 0;
      for (const wait of waits) {
        void pass(wait);
        now += wait;
        const taken = limits.take("ana", limit);
        if (!taken.isAllowed) continue;
        allowedAt.push(now);
        for (const [index, from] of allowedAt.entries()) {
          const gained = ((now - from) / 1_000) * limit.perSecond;
          const count = allowedAt.length - index;
          assert.ok(count <= limit.burst + gained + 1e-6, `${count} in ${now - from} ms`);
        }
      }
    }),
    { numRuns: 60 },
  );
});

test("a refused request is allowed after its wait", () => {
  const limit = { perSecond: 0.3, burst: 7 };
  const { limits, pass } = open();
  limits.take("ana", limit, 7);
  const { retryAfterSeconds } = limits.take("ana", limit);
  void pass(retryAfterSeconds * 1_000);
  assert.equal(limits.take("ana", limit).isAllowed, true);
});

// An operator who corrects the time must not lock everybody out for as long.
test("a clock that is set back adds no more than a whole bucket to a wait", () => {
  const limit = { perSecond: 5, burst: 2 };
  const { limits, pass } = open();
  limits.take("ana", limit);
  void pass(-1_000_000);
  assert.equal(limits.take("ana", limit).retryAfterSeconds, 1);
  void pass(400);
  assert.equal(limits.take("ana", limit).isAllowed, true);
});

// A client that can choose its address, as with IPv6, must not fill the memory.
test("keys are bounded, and those with a full bucket are not kept", async () => {
  const slow = { perSecond: 1 / 3600, burst: 5 };
  const bounded = open(1_000);
  for (let i = 0; i < 100_000; i += 1) bounded.limits.take(`address ${i}`, slow);
  assert.equal(bounded.limits.size, 1_000);
  assert.equal(bounded.limits.take("address 99999", slow).remaining, 3);
  assert.equal(bounded.limits.take("address 98000", slow).remaining, 4);

  const quick = { perSecond: 5, burst: 5 };
  const idle = open();
  for (let i = 0; i < 10_000; i += 1) {
    idle.limits.take(`address ${i}`, quick);
    await idle.pass(10);
  }
  assert.ok(idle.limits.size < 100, `${idle.limits.size} keys are kept`);
});

test("an IP address is counted as its customer", () => {
  const keys: Record<string, string> = {
    "203.0.113.9": "203.0.113.9",
    "::ffff:203.0.113.9": "203.0.113.9",
    "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64",
    "2001:0DB8:0001:0002::": "2001:db8:1:2::/64",
    "2001:db8:1:2:ffff::1": "2001:db8:1:2::/64",
    "2001:db8::1": "2001:db8:0:0::/64",
    "fe80::1%eth0": "fe80:0:0:0::/64",
    "::1": "0:0:0:0::/64",
    "64:ff9b:1:2::192.0.2.1": "64:ff9b:1:2::/64",
    "1:2:3::192.0.2.1": "1:2:3:0::/64",
    nonsense: "nonsense",
  };
  for (const [address, key] of Object.entries(keys)) assert.equal(addressKey(address), key, address);
});
