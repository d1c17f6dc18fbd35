import type { FastifyReply, FastifyRequest } from "fastify";
import { forbidden } from "../errors.ts";

const allowedMethods = "GET, POST, PUT, PATCH, DELETE";
const allowedHeaders = "authorization, content-type, idempotency-key, last-event-id, range, x-request-id";
const exposedHeaders = [
  "content-disposition",
  "content-range",
  "etag",
  "idempotent-replayed",
  "ratelimit-limit",
  "ratelimit-remaining",
  "ratelimit-reset",
  "retry-after",
  "x-request-id",
].join(", ");
const preflightMaxAgeSeconds = 600;

/** The headers that let a page of this origin read a response. `*` is every origin. */
export function headersForOrigins(origins: readonly string[]) {
  const all = origins.includes("*");
  const known = new Set(origins);
  const vary: Record<string, string> = !all && known.size > 0 ? { vary: "Origin" } : {};
  return (origin: string | undefined): Record<string, string> => {
    if (origin === undefined || !(all || known.has(origin))) return vary;
    const allowed = { "access-control-allow-origin": all ? "*" : origin };
    return { ...vary, ...allowed, "access-control-expose-headers": exposedHeaders };
  };
}

/**
 * A hook that lets pages of the configured origins call the API. Never with cookies: a page proves who calls by the
 * `authorization` header. A preflight gets its response here, before the credential is read.
 */
export function allowOrigins(headersFor: ReturnType<typeof headersForOrigins>) {
  return function allow(request: FastifyRequest, reply: FastifyReply, done: (error?: Error) => void): void {
    const headers = headersFor(request.headers.origin);
    reply.headers(headers);
    const isPreflight = request.method === "OPTIONS" && "access-control-request-method" in request.headers;
    if (!isPreflight) done();
    else if (headers["access-control-allow-origin"] !== undefined) answerPreflight(reply);
    else done(forbidden("This origin may not call the hub. The operator of the hub can add it to CORS_ORIGINS."));
  };
}

export function varyBy(reply: FastifyReply, header: string): void {
  const before = reply.getHeader("vary");
  reply.header("vary", before === undefined ? header : `${before}, ${header}`);
}

function answerPreflight(reply: FastifyReply): void {
  reply
    .headers({
      "access-control-allow-methods": allowedMethods,
      "access-control-allow-headers": allowedHeaders,
      "access-control-max-age": String(preflightMaxAgeSeconds),
    })
    .status(204)
    .send();
}
