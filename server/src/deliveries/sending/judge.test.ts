import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { SendOutcome } from "../../connectors/connector.ts";
import { backoffMs, judge } from "./judge.ts";
import type { StartedDelivery } from "./start-attempts.ts";

const policy = { baseMs: 1_000, maxMs: 900_000, totalMs: 86_400_000, unknownGraceMs: 30_000 };

function decide(
  outcome: SendOutcome,
  change: { attempt?: number; retriedForMs?: number; unknown?: "receipt" | "resend" } = {},
) {
  const { attempt = 1, retriedForMs = 0, unknown = "resend" } = change;
  const delivery = {
    kind: "started",
    deliveryId: "d",
    channelAccountId: "a",
    messageId: "m",
    attempt,
    startedAt: new Date(0),
    retriedForMs,
  } as StartedDelivery;
  const sent = { outcome, exchanges: [], sentParts: ["p1"], partCount: 2 };
  const { isFinal, retryAfterMs, error } = judge(delivery, sent, unknown, policy, 0, () => 0);
  return { isFinal, inMs: retryAfterMs, code: error?.code ?? null };
}

const retry = (afterMs: number | null, platformFault = true): SendOutcome => {
  return { kind: "retry", afterMs, scope: "lane", platformFault, detail: "no" };
};

test("every outcome of an attempt has its consequence", () => {
  const unknown: SendOutcome = { kind: "unknown", detail: "no response" };
  const again = (inMs: number, code: string) => ({ isFinal: false, inMs, code });
  const end = (code: string | null) => ({ isFinal: true, inMs: null, code });
  assert.deepEqual(decide({ kind: "sent", providerMessageId: "p" }), end(null));
  assert.deepEqual(decide({ kind: "refused", reason: "RECIPIENT_BLOCKED", detail: "no" }), end("RECIPIENT_BLOCKED"));
  assert.deepEqual(decide(retry(null)), again(1_000, "PLATFORM_UNAVAILABLE"));
  assert.deepEqual(decide(retry(null), { attempt: 5 }), again(16_000, "PLATFORM_UNAVAILABLE"));
  assert.deepEqual(decide(retry(90_000, false)), again(90_000, "RATE_LIMITED"));
  assert.deepEqual(decide(unknown), again(1_000, "UNKNOWN"));
  assert.deepEqual(decide(unknown, { unknown: "receipt" }), again(30_000, "UNKNOWN"));
});

test("retries end when the next attempt would be too late", () => {
  assert.equal(decide(retry(null), { attempt: 99, retriedForMs: 86_400_000 - 900_000 }).isFinal, false);
  assert.equal(decide(retry(null), { attempt: 99, retriedForMs: 86_400_000 - 899_999 }).code, "RETRIES_EXHAUSTED");
  assert.equal(decide(retry(86_400_001)).code, "RETRIES_EXHAUSTED");
});

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
