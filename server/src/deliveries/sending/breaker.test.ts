import assert from "node:assert/strict";
import { test } from "node:test";
import { breakerThreshold, openBreaker } from "./breaker.ts";

function broken() {
  const breaker = openBreaker();
  for (let i = 0; i < breakerThreshold; i += 1) breaker.failed(0);
  return breaker;
}

test("the breaker opens after several failures in a row, not before", () => {
  const breaker = openBreaker();
  for (let i = 1; i < breakerThreshold; i += 1) breaker.failed(0);
  assert.equal(breaker.admit(0), 0);
  breaker.succeeded();
  for (let i = 1; i < breakerThreshold; i += 1) breaker.failed(0);
  assert.equal(breaker.state(0), "closed");
  breaker.failed(0);
  assert.equal(breaker.state(0), "open");
  assert.equal(breaker.admit(0), 1_000);
  assert.equal(breaker.admit(400), 600);
});

test("half-open admits one probe; its success closes the breaker, its failure doubles the pause", () => {
  const breaker = broken();
  assert.equal(breaker.state(1_000), "half_open");
  assert.equal(breaker.admit(1_000), 0);
  assert.ok(breaker.admit(1_000) > 0, "a second probe went out");
  breaker.failed(1_100);
  assert.equal(breaker.admit(1_100), 2_000);
  assert.equal(breaker.admit(3_100), 0);
  breaker.succeeded();
  assert.equal(breaker.state(3_100), "closed");
  for (let i = 0; i < breakerThreshold; i += 1) breaker.failed(3_100);
  assert.equal(breaker.admit(3_100), 1_000);
});

test("after an abandoned probe the next one is admitted", () => {
  const breaker = broken();
  assert.equal(breaker.admit(1_000), 0);
  breaker.abandoned();
  assert.equal(breaker.admit(1_000), 0);
});

test("the pause is bounded during any outage", () => {
  const breaker = broken();
  let now = 0;
  for (let i = 0; i < 20; i += 1) {
    now += breaker.admit(now);
    assert.equal(breaker.admit(now), 0);
    breaker.failed(now);
  }
  assert.equal(breaker.admit(now), 60_000);
});

// Requests that hang for 20 s come back long after the breaker opened: they must not count as its probe.
test("attempts that started before the breaker opened neither end a probe nor lengthen the pause", () => {
  const breaker = broken();
  breaker.failed(500, -5_000);
  assert.equal(breaker.admit(1_000), 0);
  breaker.failed(1_100, -4_000);
  assert.ok(breaker.admit(1_100) > 0, "a second probe went out");
  breaker.failed(1_200, 1_000);
  assert.equal(breaker.admit(1_200), 2_000);
});

// Of 64 requests that left together some succeed at once, and all that hang come back after them in one row.
test("failures count in the order in which attempts started, not in that in which they ended", () => {
  const breaker = openBreaker();
  breaker.succeeded(100);
  for (let i = 0; i < 3 * breakerThreshold; i += 1) breaker.failed(20_000, 100);
  assert.equal(breaker.state(20_000), "closed");
  for (let i = 0; i < breakerThreshold; i += 1) breaker.failed(20_200, 101);
  assert.equal(breaker.state(20_200), "open");
});
