import type { FastifyReply, FastifyRequest } from "fastify";
import { isCounted } from "../../../contract/src/operation.ts";
import { keyLimitsOf } from "../credentials/credentials.ts";
import { RequestError } from "../errors.ts";
import { addressKey } from "../lib/rate-limits/address-key.ts";
import type { RateLimit, RateLimits, Taken } from "../lib/rate-limits/rate-limits.ts";
import type { App } from "./app.ts";
import { clientAddress } from "./client-address.ts";

declare module "fastify" {
  interface FastifyContextConfig {
    /**
     * By whom requests are counted where it is not the rule: `address` also counts what only reads, `none` counts
     * nothing.
     */
    limit?: "address" | "none";
  }
}

interface RequestLimitDeps {
  limits: RateLimits;
  /** For each user over all its sessions; `null`: none. An API key has its own limit, or none. */
  byUser: RateLimit | null;
  /** For each client IP address on routes that know no caller; `null`: none. */
  byAddress: RateLimit | null;
}

interface Counted {
  key: string;
  limit: RateLimit;
}

/**
 * Counts requests that change something, by caller or else by IP address, and refuses those beyond the limit with 429.
 * A batch is one request. Call it after the hooks that authenticate and before the routes are added.
 */
export function limitRequests(app: App, { limits, byUser, byAddress }: RequestLimitDeps): void {
  function countedAs(request: FastifyRequest): Counted[] {
    const { access, limit } = request.route.config;
    if (access === undefined || !isCounted(request.method, limit)) return [];
    if (access === "public" || limit === "address") {
      return byAddress === null ? [] : [{ key: `address:${addressKey(clientAddress(request))}`, limit: byAddress }];
    }
    const { kind, callerId } = request.principal;
    if (kind === "api_key") return keyLimitsOf(request.principal);
    return byUser === null ? [] : [{ key: `user:${callerId}`, limit: byUser }];
  }

  /** Counts for the key first and then for the keys above it; a refusal by one is not counted for the next ones. */
  function takeNext(reply: FastifyReply, counted: Counted[], done: (error?: Error) => void): void {
    const next = counted.pop();
    if (next === undefined) {
      done();
      return;
    }
    const follow = (taken: Taken) => {
      const refused = showLimit(reply, next.limit, taken);
      if (refused === undefined) takeNext(reply, counted, done);
      else done(refused);
    };
    const taken = limits.take(next.key, next.limit);
    if (taken instanceof Promise) taken.then(follow, done);
    else follow(taken);
  }

  app.addHook("onRequest", (request, reply, done) => {
    takeNext(reply, countedAs(request), done);
  });
}

/** Sets the headers of the limit; returns the error when it is exceeded. */
function showLimit(reply: FastifyReply, limit: RateLimit, taken: Taken): RequestError | undefined {
  const shown = reply.getHeader("ratelimit-remaining") as number | undefined;
  if (shown === undefined || taken.remaining <= shown) {
    reply.header("ratelimit-limit", taken.limit);
    reply.header("ratelimit-remaining", taken.remaining);
    reply.header("ratelimit-reset", taken.resetSeconds);
  }
  if (taken.isAllowed) return undefined;
  const seconds = taken.retryAfterSeconds;
  return new RequestError(
    "RATE_LIMIT_EXCEEDED",
    `Too many requests: at most ${limit.burst} at once and ${rate(limit)} on average are allowed. Try again in ${seconds} s.`,
    { retryAfterSeconds: seconds },
  );
}

function rate({ perSecond }: RateLimit): string {
  const [amount, unit] =
    perSecond >= 1
      ? [perSecond, "second"]
      : perSecond * 60 >= 1
        ? [perSecond * 60, "minute"]
        : [perSecond * 3_600, "hour"];
  return `${Number(amount.toFixed(2))} a ${unit}`;
}
