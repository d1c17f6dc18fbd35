import assert from "node:assert/strict";
import { test } from "node:test";
import type { SendOutcome } from "../../connectors/connector.ts";
import { openAccountGate } from "./account-gate.ts";
import { breakerThreshold } from "./breaker.ts";

const sent: SendOutcome = { kind: "sent", providerMessageId: "1" };
const down: SendOutcome = { kind: "retry", afterMs: null, scope: "lane", platformFault: true, detail: "500" };
const slowDown = (afterMs: number | null, scope: "lane" | "account"): SendOutcome => {
  return { kind: "retry", afterMs, scope, platformFault: false, detail: "429" };
};

/** An attempt that took no time. */
const ended = (outcome: SendOutcome, requests: number, endMs: number) => {
  return { outcome, requests, startMs: endMs, endMs, at: new Date(0) };
};

test("no more attempts run at the same time than allowed", () => {
  const gate = openAccountGate(1_000, 2, 0);
  assert.deepEqual([gate.admit(0), gate.admit(0)], [0, 0]);
  assert.ok(gate.admit(0) > 0);
  gate.finished(ended(sent, 1, 0));
  assert.equal(gate.admit(0), 0);
  gate.abandoned();
  assert.equal(gate.describe(0).inFlight, 1);
});

test("no more requests a second than the rate, including the further parts of a long text", () => {
  const gate = openAccountGate(2, 100, 0);
  assert.deepEqual([gate.admit(0), gate.admit(0), gate.admit(0)], [0, 0, 500]);
  assert.equal(gate.admit(500), 0);
  gate.finished(ended(sent, 4, 500));
  assert.ok(gate.admit(1_000) > 1_000, "the further parts were free");
});

test("a throttled account waits, and a throttled lane does not delay the account", () => {
  const gate = openAccountGate(1_000, 10, 0);
  gate.admit(0);
  gate.finished(ended(slowDown(7_000, "lane"), 1, 0));
  assert.equal(gate.admit(0), 0);
  gate.finished(ended(slowDown(7_000, "account"), 1, 0));
  assert.equal(gate.admit(0), 7_000);
  assert.equal(gate.admit(7_000), 0);
});

test("an account that is throttled without a wait pauses for longer each time, until a message is sent", () => {
  const gate = openAccountGate(1_000, 10, 0);
  const throttled = slowDown(null, "account");
  for (const startMs of [0, 1, 2]) assert.equal(gate.admit(startMs), 0);
  gate.finished({ ...ended(throttled, 1, 100), startMs: 0 });
  assert.equal(gate.admit(100), 1_000);
  // They started before the pause: they neither lengthen nor end it.
  gate.finished({ ...ended(throttled, 1, 200), startMs: 1 });
  gate.finished({ ...ended(sent, 1, 300), startMs: 2 });
  assert.equal(gate.admit(300), 800);
  assert.equal(gate.describe(300).breaker, "closed");
  let now = 1_100;
  for (const pauseMs of [2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]) {
    assert.equal(gate.admit(now), 0);
    gate.finished(ended(throttled, 1, now));
    assert.equal(gate.admit(now), pauseMs);
    now += pauseMs;
  }
  gate.admit(now);
  gate.finished(ended(sent, 1, now));
  gate.admit(now);
  gate.finished(ended(throttled, 1, now));
  assert.equal(gate.admit(now), 1_000);
});

test("a fault of the platform pauses no account before the breaker opens", () => {
  const gate = openAccountGate(1_000, 10, 0);
  gate.admit(0);
  gate.finished(ended({ ...down, scope: "account" } as SendOutcome, 1, 0));
  assert.equal(gate.admit(0), 0);
});

test("failures of the platform open the breaker; a refused message does not", () => {
  const gate = openAccountGate(1_000, 10, 0);
  for (let i = 0; i < 20; i += 1) {
    gate.admit(0);
    gate.finished(ended({ kind: "refused", reason: "PAYLOAD_INVALID", detail: "400" }, 1, 0));
  }
  assert.equal(gate.describe(0).breaker, "closed");
  for (let i = 0; i < breakerThreshold; i += 1) {
    gate.admit(1);
    gate.finished(ended(down, 1, 1));
  }
  assert.deepEqual([gate.describe(1).breaker, gate.describe(1).lastError?.detail], ["open", "500"]);
  assert.ok(gate.admit(1) > 0);
});

test("a refused admission costs no token", () => {
  const gate = openAccountGate(breakerThreshold, 100, 0);
  for (let i = 0; i < breakerThreshold; i += 1) {
    gate.admit(0);
    gate.finished(ended(down, 1, 0));
  }
  for (let i = 0; i < 50; i += 1) assert.ok(gate.admit(900) > 0);
  assert.equal(gate.admit(1_000), 0);
});

test("a changed rate applies to the next attempt", () => {
  const gate = openAccountGate(1, 100, 0);
  gate.admit(0);
  gate.setRate(100, 0);
  assert.equal(gate.admit(0), 0);
  assert.equal(gate.describe(0).ratePerSecond, 100);
});
