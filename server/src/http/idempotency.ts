import type { FastifyReply, FastifyRequest } from "fastify";
import { Type } from "typebox";
import type { OperationShape } from "../../../contract/src/operation.ts";
import { idempotencyKey } from "../../../contract/src/schemas.ts";
import type { IdentityDb } from "../database-roles.ts";
import { type ErrorCode, errorCodes } from "../errors.ts";
import { derivedId } from "../lib/ids.ts";
import type { App } from "./app.ts";
import {
  type Claim,
  claimKey,
  fingerprintOf,
  type IdempotencyDeps,
  keepAnswer,
  keepPart,
  releaseKey,
} from "./idempotency-keys.ts";

declare module "fastify" {
  interface FastifyContextConfig {
    idempotent?: OperationShape["idempotent"];
  }
}

/**
 * Makes every route that says `idempotent` honour `Idempotency-Key`, and costs nothing on the others. Call it before the
 * routes are added. The body must be JSON that was parsed and validated before the handler.
 */
export function honourIdempotencyKeys(
  app: App,
  { identityDb, ...rest }: Omit<IdempotencyDeps, "db"> & { identityDb: IdentityDb },
): void {
  const claims = new WeakMap<FastifyRequest, Claim>();
  const depsOf = (request: FastifyRequest): IdempotencyDeps => ({ ...rest, db: request.db ?? identityDb });

  function claim(request: FastifyRequest, reply: FastifyReply, done: (error?: Error) => void): void {
    const key = request.headers["idempotency-key"] as string | undefined;
    if (key === undefined) done();
    else claimAs(key, request, reply).then((isOurs) => isOurs && done(), done);
  }

  /** Whether the operation must run; otherwise the reply has been sent. */
  async function claimAs(key: string, request: FastifyRequest, reply: FastifyReply): Promise<boolean> {
    const outcome = await claimKey(depsOf(request), { ...callerOf(request), key, fingerprint: fingerprint(request) });
    if ("claimedAt" in outcome) {
      claims.set(request, outcome);
      request.workId = outcome.workId;
      request.donePart = outcome.part === null ? null : JSON.parse(outcome.part);
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
    const answer = typeof payload === "string" ? payload : "";
    if (!isFinalStatus(statusCode) || reply.hasHeader("retry-after")) await releaseKey(depsOf(request), held);
    else if (request.isDoneInPart) await keepPart(depsOf(request), held, answer);
    else await keepAnswer(depsOf(request), held, { statusCode, answer });
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

const keyHeader = Type.Object({ "idempotency-key": Type.Optional(idempotencyKey) });

/** Success, and what the request itself is refused for. What others can lift, or time can, is worth another try. */
function isFinalStatus(statusCode: number): boolean {
  return statusCode < 400 || ownFaults.has(statusCode);
}

const ownFaults = new Set([400, 409, 413, 415, 422]);

export function isFinalError(code: ErrorCode): boolean {
  return isFinalStatus(errorCodes[code].http);
}

function callerOf(request: FastifyRequest): { workspaceId: string | null; callerId: string } {
  const { idempotent } = request.route.config;
  if (typeof idempotent !== "object") return request.principal;
  const name = (request.body as Record<string, string>)[idempotent.by]!;
  return { workspaceId: null, callerId: derivedId(0, "idempotency", name.toLowerCase()) };
}

function fingerprint(request: FastifyRequest): string {
  return fingerprintOf(request.method, request.url, request.body);
}
