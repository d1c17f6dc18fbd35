import type { SendOutcome } from "../../connectors/connector.ts";
import { type Backoff, doubledMs } from "../../lib/backoff.ts";
import { TokenBucket } from "../../lib/rate-limits/token-bucket.ts";
import { openBreaker } from "./breaker.ts";

export type AccountGate = ReturnType<typeof openAccountGate>;

interface EndedAttempt {
  outcome: SendOutcome;
  requests: number;
  startMs: number;
  endMs: number;
  /** Wall time, for people only. */
  at: Date;
}

/** The wait at full concurrency, in milliseconds: the next attempt that ends wakes the others. */
export const untilOneEnds = 60_000;
/** The pause of an account that a platform throttles without saying for how long. */
const throttled: Backoff = { firstMs: 1_000, longestMs: 60_000 };

/** The rate limit, circuit breaker and concurrency of a channel account. Moments are those of `Clock.elapsed`. */
export function openAccountGate(perSecond: number, concurrency: number, now: number) {
  const breaker = openBreaker();
  let tokens = bucketOf(perSecond, now);
  let inFlight = 0;
  let pausedUntil = Number.NEGATIVE_INFINITY;
  /** Pauses without a successful attempt in between. */
  let pauses = 0;
  let lastError: { detail: string; at: string } | null = null;
  return {
    /** 0 lets one attempt start and counts it; otherwise the milliseconds until the next question. */
    admit(at: number): number {
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
    finished({ outcome, requests, startMs, endMs, at }: EndedAttempt) {
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
    /** The attempt ended without a request to the platform. */
    abandoned() {
      inFlight -= 1;
      breaker.abandoned();
    },
    setRate(next: number, at: number) {
      if (next !== tokens.limit.perSecond) tokens = bucketOf(next, at);
    },
    describe: (at: number) => ({
      breaker: breaker.state(at),
      inFlight,
      ratePerSecond: tokens.limit.perSecond,
      lastError,
    }),
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
