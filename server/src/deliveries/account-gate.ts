import type { SendOutcome } from "../connectors/connector.ts";
import { openBreaker } from "./breaker.ts";
import { openRateLimit, type RateLimit } from "./rate-limit.ts";

/** When the next attempt on one channel account may start: its rate limit, its circuit breaker and its concurrency. */
export interface AccountGate {
  /** 0 lets one attempt start, and counts it; otherwise milliseconds until it is worth asking again. */
  admit(now: number): number;
  /** The attempt ended; `requests` is how many went to the platform. */
  finished(outcome: SendOutcome, requests: number, now: number, startedAt?: number): void;
  /** The attempt ended before anything was asked of the platform. */
  abandoned(): void;
  /** The account's own rate was changed. */
  setRate(perSecond: number, now: number): void;
  describe(now: number): GateState;
}

export interface GateState {
  breaker: "closed" | "open" | "half_open";
  inFlight: number;
  ratePerSecond: number;
  lastError: { detail: string; at: string } | null;
}

/** What an attempt at full concurrency is told: it is roused by the next one that ends. */
export const untilOneEnds = 60_000;

export function openAccountGate(perSecond: number, concurrency: number, now: number): AccountGate {
  const breaker = openBreaker();
  let rate: RateLimit = openRateLimit(perSecond, now);
  let inFlight = 0;
  let pausedUntil = 0;
  let lastError: GateState["lastError"] = null;
  return {
    admit(at) {
      if (inFlight >= concurrency) return untilOneEnds;
      if (at < pausedUntil) return pausedUntil - at;
      const limited = rate.take(at);
      if (limited > 0) return limited;
      const broken = breaker.admit(at);
      if (broken > 0) {
        rate.spend(-1);
        return broken;
      }
      inFlight += 1;
      return 0;
    },
    finished(outcome, requests, at, startedAt = at) {
      inFlight -= 1;
      if (requests > 1) rate.spend(requests - 1);
      if (outcome.kind !== "sent") lastError = { detail: outcome.detail, at: new Date(at).toISOString() };
      if (isFault(outcome)) breaker.failed(at, startedAt);
      else breaker.succeeded(startedAt);
      if (outcome.kind === "retry" && outcome.scope === "account" && outcome.afterMs !== null) {
        pausedUntil = Math.max(pausedUntil, at + outcome.afterMs);
      }
    },
    abandoned() {
      inFlight -= 1;
      breaker.abandoned();
    },
    setRate(next, at) {
      if (next !== rate.perSecond) rate = openRateLimit(next, at);
    },
    describe: (at) => ({ breaker: breaker.state(at), inFlight, ratePerSecond: rate.perSecond, lastError }),
  };
}

/** Whether it says that the platform is down or the account is: a message's own refusal says neither. */
function isFault(outcome: SendOutcome): boolean {
  if (outcome.kind === "refused") return outcome.accountFault === true;
  return outcome.kind === "unknown" || (outcome.kind === "retry" && outcome.platformFault);
}
