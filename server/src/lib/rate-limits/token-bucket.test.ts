import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { TokenBucket } from "./token-bucket.ts";

test("in any period the bucket gives no more than its rate and its burst", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 50 }), fc.array(fc.nat(400), { maxLength: 200 }), (rate, gaps) => {
      const bucket = new TokenBucket({ perSecond: rate, burst: rate }, 0);
      let now = 0;
      let taken = 0;
      for (const gap of gaps) {
        now += gap;
        if (bucket.take(now) === 0) taken += 1;
      }
      assert.ok(taken <= rate + (now / 1_000) * rate + 1e-6);
    }),
  );
});

test("gives a token after the wait that it returned, also after more was spent than it had", () => {
  const bucket = new TokenBucket({ perSecond: 3, burst: 2 }, 0);
  assert.deepEqual([bucket.take(0), bucket.take(0)], [0, 0]);
  bucket.spend(4);
  const waitMs = bucket.take(0);
  assert.ok(waitMs > 1_600 && waitMs < 1_700, `${waitMs} ms`);
  assert.ok(bucket.take(waitMs - 1) > 0);
  assert.equal(bucket.take(waitMs), 0);
  bucket.spend(-1);
  assert.equal(bucket.take(waitMs), 0, "what was given back can be taken");
});

test("is full at first, and again once all its tokens are back", () => {
  const bucket = new TokenBucket({ perSecond: 10, burst: 5 }, 1_000);
  assert.ok(bucket.isFull(1_000));
  bucket.take(1_000);
  assert.ok(!bucket.isFull(1_099));
  assert.ok(bucket.isFull(1_100));
});
