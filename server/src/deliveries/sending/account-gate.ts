import type { SendOutcome } from "../../connectors/connector.ts";
import { type Backoff, doubledMs } from "../../lib/backoff.ts";
import { TokenBucket } from "../../lib/rate-limits/token-bucket.ts";
import { openBreaker } from "./breaker.ts";

/** The rate limit, circuit breaker and concurrency of a channel account. `now` is that of `Clock.elapsed`. */
export interface AccountGate {
  /** 0 lets one attempt start and counts it; otherwise the milliseconds until the next question. */
  admit(now: number): number;
  finished(attempt: EndedAttempt): void;
  /** The attempt ended without a request to the platform. */
  abandoned(): void;
  setRate(perSecond: number, now: number): void;
  describe(now: number): GateState;
}

interface EndedAttempt {
  outcome: SendOutcome;
  requests: number;
  startMs: number;
  endMs: number;
  /** Wall time, for people only. */
  at: Date;
}

export interface GateState {
  breaker: "closed" | "open" | "half_open";
  inFlight: number;
  ratePerSecond: number;
  lastError: { detail: string; at: string } | null;
}

/** The wait at full concurrency, in milliseconds: the next attempt that ends wakes the others. */
export const untilOneEnds = 60_000;
/** The pause of an account that a platform throttles without saying for how long. */
const throttled: Backoff = { firstMs: 1_000, longestMs: 60_000 };

export function openAccountGate(perSecond: number, concurrency: number, now: number): AccountGate {
  const breaker = openBreaker();
  let tokens = bucketOf(perSecond, now);
  let inFlight = 0;
  let pausedUntil = Number.NEGATIVE_INFINITY;
  /** Pauses without a successful attempt in between. */
  let pauses = 0;
  let lastError: GateState["lastError"] = null;
  return {
    admit(at) {
      if (inFlight >= concurrency) return untilOneEnds;
      if (at < pausedUntil) return pausedUntil - at;
      const limited = tokens.take(at);
      if (limited > 0) return limited;
      const broken = breaker.admit(at);
      if (broken > 0) {
        tokens.spend(-1);
        return broken;
      }
      inFlight += 1;
      return 0;
    },
    finished({ outcome, requests, startMs, endMs, at }) {
      inFlight -= 1;
      if (requests > 1) tokens.spend(requests - 1);
      if (outcome.kind !== "sent") lastError = { detail: outcome.detail, at: at.toISOString() };
      if (isFault(outcome)) breaker.failed(endMs, startMs);
      else breaker.succeeded(startMs);
      const isOlderThanPause = startMs < pausedUntil;
      if (outcome.kind === "sent" && !isOlderThanPause) pauses = 0;
      if (outcome.kind !== "retry" || outcome.scope !== "account") return;
      if (outcome.afterMs !== null) pausedUntil = Math.max(pausedUntil, endMs + outcome.afterMs);
      else if (!outcome.platformFault && !isOlderThanPause) {
        pauses += 1;
        pausedUntil = endMs + doubledMs(throttled, pauses);
      }
    },
    abandoned() {
      inFlight -= 1;
      breaker.abandoned();
    },
    setRate(next, at) {
      if (next !== tokens.limit.perSecond) tokens = bucketOf(next, at);
    },
    describe: (at) => ({ breaker: breaker.state(at), inFlight, ratePerSecond: tokens.limit.perSecond, lastError }),
  };
}

/** With a burst of one second, at least one request. */
function bucketOf(perSecond: number, now: number): TokenBucket {
  return new TokenBucket({ perSecond, burst: Math.max(1, perSecond) }, now);
}

/** Whether the outcome means that the platform is down. One that refuses a message or the account is up. */
function isFault(outcome: SendOutcome): boolean {
  return outcome.kind === "unknown" || (outcome.kind === "retry" && outcome.platformFault);
}
