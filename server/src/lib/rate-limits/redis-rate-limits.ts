import { createHash } from "node:crypto";
import type { Clock } from "../clock.ts";
import type { Log } from "../postgres.ts";
import type { RedisClient } from "../redis.ts";
import { openMemoryRateLimits } from "./memory-rate-limits.ts";
import { priceOf, type RateLimit, type RateLimits, type Taken, toTaken } from "./rate-limits.ts";

interface RedisRateLimitsOptions {
  client: RedisClient;
  clock: Clock;
  log: Log;
}

export const keyPrefix = "chat4all:limit:";
const answerWithinMs = 250;
/** After a failure each process counts for itself for this time. */
const awayMs = 1_000;

/** By the clock of Redis. While Redis fails, each process counts for itself, so the limit multiplies. */
export function openRedisRateLimits({ client, clock, log }: RedisRateLimitsOptions): RateLimits {
  const inMemory = openMemoryRateLimits(clock);
  let awayUntil = Number.NEGATIVE_INFINITY;
  let isAway = false;

  async function ask(key: string, limit: RateLimit, cost: number): Promise<Taken> {
    const price = priceOf(limit, cost);
    const asked = { keys: [keyPrefix + key], arguments: [String(price.costMs), String(price.fullMs)] };
    const reply = client.evalSha(scriptSha, asked).catch((error: Error) => {
      // A restarted Redis has forgotten the script.
      if (error.message.startsWith("NOSCRIPT")) return client.eval(script, asked);
      throw error;
    });
    const [isAllowed, debtMs] = (await within(clock, answerWithinMs, reply)) as [0 | 1, string];
    return toTaken(isAllowed === 1, Number(debtMs), limit, price);
  }

  return {
    take(key, limit, cost = 1) {
      if (!client.isReady || clock.elapsed() < awayUntil) return inMemory.take(key, limit, cost);
      return ask(key, limit, cost).then(
        (taken) => {
          if (isAway) log.info({}, "rate limits: counted in Redis again");
          isAway = false;
          return taken;
        },
        (error: Error) => {
          if (!isAway) log.warn({ reason: error.message }, "rate limits: counted in this process for now");
          isAway = true;
          awayUntil = clock.elapsed() + awayMs;
          return inMemory.take(key, limit, cost);
        },
      );
    },
  };
}

function within<T>(clock: Clock, timeoutMs: number, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const cancel = clock.after(timeoutMs, () => reject(new Error(`no response within ${timeoutMs} ms`)));
    work.then(resolve, reject).finally(cancel);
  });
}

/** As in `rate-limits.ts`. The value is when the bucket is full again, in milliseconds of Redis's clock. */
const script = `
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local cost, full = tonumber(ARGV[1]), tonumber(ARGV[2])
local debt = tonumber(redis.call('GET', KEYS[1]) or now) - now
debt = math.min(math.max(debt, 0), full)
local allowed = debt + cost <= full + 1e-3
if allowed then debt = debt + cost end
redis.call('SET', KEYS[1], string.format('%.3f', now + debt), 'PX', string.format('%d', math.max(1, math.ceil(debt))))
return { allowed and 1 or 0, string.format('%.3f', debt) }
`;

const scriptSha = createHash("sha1").update(script).digest("hex");
