import { keyLimitsOf, type Principal } from "../credentials/credentials.ts";
import { RequestError } from "../errors.ts";
import type { RateLimits } from "../lib/rate-limits/rate-limits.ts";
import { frameBurst, framesPerSecond } from "./frame-quota.ts";

/**
 * Counts a frame that does what a request does: for an API key as that request, and for a user as much over all sockets
 * as one socket may send. A user's requests are counted apart, so that a client that reports each key press can send.
 * Throws RATE_LIMIT_EXCEEDED.
 */
export async function countFrame(limits: RateLimits, principal: Principal): Promise<void> {
  const ofUser = { key: `frames:${principal.userId}`, limit: { perSecond: framesPerSecond, burst: frameBurst } };
  const counted = principal.kind === "user" ? [ofUser] : keyLimitsOf(principal).reverse();
  for (const { key, limit } of counted) {
    const { isAllowed, retryAfterSeconds } = await limits.take(key, limit);
    if (isAllowed) continue;
    const message = `Too many frames that change something: try again in ${retryAfterSeconds} s.`;
    throw new RequestError("RATE_LIMIT_EXCEEDED", message, { retryAfterSeconds });
  }
}
