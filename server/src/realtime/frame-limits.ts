import { keyLimitsOf, type Principal } from "../credentials/credentials.ts";
import { RequestError } from "../errors.ts";
import type { Clock } from "../lib/clock.ts";
import type { RateLimit, RateLimits } from "../lib/rate-limits/rate-limits.ts";
import { TokenBucket } from "../lib/rate-limits/token-bucket.ts";

/** Frames that one client may send: a second on average, and at once after a pause. More are refused. */
const frameLimit: RateLimit = { perSecond: 20, burst: 50 };
/** Refused frames after which a client is disconnected. The count starts again when its quota is full again. */
const maxRefused = 200;
/** Most frames of one client that wait for the ones before them. */
const maxWaitingFrames = 64;

export class FrameQuota {
  readonly #clock: Clock;
  readonly #tokens: TokenBucket;
  #refused = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#tokens = new TokenBucket(frameLimit, clock.elapsed());
  }

  /** Counts a frame that arrives while `waiting` others wait. Returns why it is refused, or null. */
  take(waiting: number): RequestError | null {
    const now = this.#clock.elapsed();
    // Not for each accepted frame: a client that never pauses has one accepted now and then.
    if (this.#tokens.isFull(now)) this.#refused = 0;
    if (this.#tokens.take(now) > 0) {
      return tooMany(`A socket may send ${frameLimit.perSecond} frames a second. Send fewer.`);
    }
    if (waiting < maxWaitingFrames) return null;
    return tooMany("Too many frames of this socket are waiting. Wait for the responses before you send more.");
  }

  /** Counts a refused frame. Returns whether the client must be disconnected. */
  refuse(): boolean {
    this.#refused += 1;
    return this.#refused > maxRefused;
  }
}

/**
 * Counts a frame that does what a request does: for an API key as that request, for a user over all sockets, apart from
 * requests, so that a client that reports each key press can send messages. Throws RATE_LIMIT_EXCEEDED.
 */
export async function countFrame(limits: RateLimits, principal: Principal): Promise<void> {
  const ofUser = { key: `frames:${principal.userId}`, limit: frameLimit };
  const counted = principal.kind === "user" ? [ofUser] : keyLimitsOf(principal).reverse();
  for (const { key, limit } of counted) {
    const { isAllowed, retryAfterSeconds } = await limits.take(key, limit);
    if (!isAllowed) {
      throw tooMany(`Too many frames that change something. Try again in ${retryAfterSeconds} s.`, retryAfterSeconds);
    }
  }
}

function tooMany(message: string, retryAfterSeconds?: number): RequestError {
  return new RequestError("RATE_LIMIT_EXCEEDED", message, { retryAfterSeconds });
}
