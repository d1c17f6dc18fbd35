import type { Capabilities, SendOutcome } from "../../connectors/connector.ts";
import { doubledMs } from "../../lib/backoff.ts";
import type { Random } from "../../lib/clock.ts";
import type { FinishedAttempt } from "./finish-attempts.ts";
import type { SendResult } from "./send-delivery.ts";
import type { StartedDelivery } from "./start-attempts.ts";

export interface JudgePolicy {
  /** The wait after the first failed attempt, doubled after each further one. */
  baseMs: number;
  maxMs: number;
  /** Retries end this long after the first attempt. */
  totalMs: number;
  /** How long an attempt without a response waits for a receipt before it is repeated. */
  unknownGraceMs: number;
}

/** Pure: decides what follows from an attempt. */
export function judge(
  delivery: StartedDelivery,
  sent: SendResult,
  afterUnknown: Capabilities["afterUnknown"],
  policy: JudgePolicy,
  tookMs: number,
  random: Random,
): FinishedAttempt {
  const { outcome, ...results } = sent;
  const { workspaceId, deliveryId, channelAccountId, messageId, attempt, startedAt } = delivery;
  const finishedAt = new Date(startedAt.getTime() + tookMs);
  const ids = { workspaceId, deliveryId, channelAccountId, messageId };
  const finished = { ...ids, attempt, startedAt, finishedAt, outcome: outcome.kind, ...results, retryAfterMs: null };
  if (outcome.kind === "sent") return { ...finished, error: null, isFinal: true };
  const error = { code: codeOf(outcome), message: outcome.detail };
  if (outcome.kind === "refused") return { ...finished, error, isFinal: true };
  // Without a retry limit: the account is at fault, not the message.
  if (outcome.kind === "account_refused") return { ...finished, error, isFinal: false };
  const asked = outcome.kind === "retry" ? outcome.afterMs : null;
  const waitsForReceipt = outcome.kind === "unknown" && afterUnknown === "receipt";
  const waitMs = waitsForReceipt ? policy.unknownGraceMs : backoffMs(policy, attempt, asked, random);
  if (delivery.retriedForMs + tookMs + waitMs > policy.totalMs) {
    const message = `Given up after ${attempt} attempts. The last one: ${outcome.detail}`;
    return { ...finished, error: { code: "RETRIES_EXHAUSTED", message }, isFinal: true };
  }
  return { ...finished, error, isFinal: false, retryAfterMs: waitMs };
}

/**
 * The wait after the `attempts`-th attempt: 75 to 100 % of the doubled base, and at least what the platform asked for
 * plus up to 5 %, so that retries spread out.
 */
export function backoffMs(
  policy: Pick<JudgePolicy, "baseMs" | "maxMs">,
  attempts: number,
  askedMs: number | null,
  random: Random,
): number {
  const doubled = doubledMs({ firstMs: policy.baseMs, longestMs: policy.maxMs }, attempts);
  const own = doubled * (1 - random() * 0.25);
  return Math.round(Math.max(own, askedMs === null ? 0 : askedMs * (1 + random() * 0.05)));
}

export function codeOf(outcome: Exclude<SendOutcome, { kind: "sent" }>): string {
  switch (outcome.kind) {
    case "refused":
    case "account_refused":
      return outcome.reason;
    case "retry":
      return outcome.platformFault ? "PLATFORM_UNAVAILABLE" : "RATE_LIMITED";
    case "unknown":
      return "UNKNOWN";
    default:
      return outcome satisfies never;
  }
}
