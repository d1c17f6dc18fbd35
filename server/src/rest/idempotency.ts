import type { FastifyReply, FastifyRequest } from "fastify";
import { Type } from "typebox";
import {
  type Claim,
  claimKey,
  fingerprintOf,
  type IdempotencyDeps,
  keepAnswer,
  releaseKey,
} from "../identity/idempotency.ts";
import { derivedId } from "../lib/ids.ts";
import type { Db } from "../lib/query.ts";
import type { App } from "./server.ts";

export { deleteOldIdempotencyKeys } from "../identity/idempotency.ts";

declare module "fastify" {
  interface FastifyContextConfig {
    /**
     * The route takes `Idempotency-Key`. Keys are each caller's own; a public route says by what in the (valid) body
     * its callers are told apart.
     */
    idempotent?: boolean | { by: (body: unknown) => string };
  }
}

/**
 * Makes every route that says `idempotent` honour `Idempotency-Key`, and costs nothing on the others. Call it before the
 * routes are added. The body must be JSON that was parsed and validated before the handler.
 */
export function honourIdempotencyKeys(
  app: App,
  { identityDb, ...rest }: Omit<IdempotencyDeps, "db"> & { identityDb: Db },
): void {
  const claims = new WeakMap<FastifyRequest, Claim>();
  /** A stranger has no workspace yet. */
  const depsOf = (request: FastifyRequest): IdempotencyDeps => ({ ...rest, db: request.db ?? identityDb });

  function claim(request: FastifyRequest, reply: FastifyReply, done: (error?: Error) => void): void {
    const key = request.headers["idempotency-key"] as string | undefined;
    if (key === undefined) done();
    else claimAs(key, request, reply).then((isOurs) => isOurs && done(), done);
  }

  /** Whether the caller must do the work; otherwise the reply has been sent. */
  async function claimAs(key: string, request: FastifyRequest, reply: FastifyReply): Promise<boolean> {
    const outcome = await claimKey(depsOf(request), { ...callerOf(request), key, fingerprint: fingerprint(request) });
    if ("claimedAt" in outcome) {
      claims.set(request, outcome);
      request.workId = outcome.workId;
      return true;
    }
    reply.status(outcome.statusCode).headers({ "idempotent-replayed": "true", "content-type": jsonType });
    reply.send(outcome.answer);
    return false;
  }

  function settle(request: FastifyRequest, reply: FastifyReply, payload: unknown, done: OnSendDone): void {
    const held = request.workId === null ? undefined : claims.get(request);
    if (held === undefined) {
      done(null, payload);
      return;
    }
    claims.delete(request);
    settleAs(held, request, reply, payload).then(() => done(null, payload), done);
  }

  async function settleAs(held: Claim, request: FastifyRequest, reply: FastifyReply, payload: unknown): Promise<void> {
    const { statusCode } = reply;
    if (isWorthAnotherTry(statusCode)) await releaseKey(depsOf(request), held);
    else await keepAnswer(depsOf(request), held, { statusCode, answer: typeof payload === "string" ? payload : "" });
  }

  app.addHook("onRoute", (route) => {
    if (!route.config?.idempotent) return;
    route.preHandler = [route.preHandler ?? [], claim].flat();
    route.onSend = [route.onSend ?? [], settle].flat();
    route.schema = { headers: keyHeader, ...route.schema };
  });
}

type OnSendDone = (error: Error | null, payload?: unknown) => void;

const jsonType = "application/json; charset=utf-8";

const keyHeader = Type.Object({
  "idempotency-key": Type.Optional(
    Type.String({
      pattern: "^[\\x20-\\x7e]{1,255}$",
      description:
        "1 to 255 printable characters, kept 24 h. The same key and body get the same answer, with " +
        "`idempotent-replayed: true`; another body gets 409 IDEMPOTENCY_CONFLICT, one still under way 409 CONFLICT.",
    }),
  ),
});

function isWorthAnotherTry(statusCode: number): boolean {
  return statusCode >= 500 || statusCode === 429;
}

function callerOf(request: FastifyRequest): { workspaceId: string | null; callerId: string } {
  const { idempotent } = request.routeOptions.config;
  if (typeof idempotent !== "object") return request.principal;
  return { workspaceId: null, callerId: derivedId(0, "idempotency", idempotent.by(request.body)) };
}

function fingerprint(request: FastifyRequest): string {
  return fingerprintOf(request.method, request.url, request.body);
}
