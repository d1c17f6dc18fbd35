import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { FastifyRequest } from "fastify";
import type { Logger } from "pino";
import { RequestError } from "../errors.ts";
import { BatcherFull } from "../lib/batcher.ts";
import type { Clock } from "../lib/clock.ts";
import type { ConcurrencyLimit } from "../lib/concurrency-limit.ts";
import type { App } from "./app.ts";
import { toErrorBody } from "./errors.ts";

declare module "fastify" {
  interface FastifyRequest {
    /** Ends the request's share of the limit; null before it begins and after it ends. */
    endWork: ((how?: "dropped") => void) | null;
  }
  interface FastifyInstance {
    /** Requests under way, how many may be, and how many were refused since the start. */
    load: () => { underWay: number; limit: number; refused: number };
  }
  interface FastifyContextConfig {
    /**
     * Exempts the route from refusals for overload, and from the count. Only for a path without parameters, and the
     * same for all methods of the path. `uncounted`: only from the count, for a body that is streamed.
     */
    admission?: Exempt | "uncounted";
  }
}

interface AdmissionOptions {
  clock: Clock;
  log: Pick<Logger, "warn">;
  limit: ConcurrencyLimit;
  requestIdOf: (request: IncomingMessage) => string;
  headersFor: (request: IncomingMessage) => Record<string, string>;
}

/**
 * `always`: the whole route, because operators need it, or because it has its own queue. `streams`: its event
 * streams, which stay open and are counted elsewhere.
 */
type Exempt = "always" | "streams";

type Answer = (request: IncomingMessage, response: ServerResponse) => void;

interface Refused {
  /** From when on a request on it is considered again, by `Clock.elapsed`. */
  turn: number;
  isHeld: boolean;
}

const waits = { shortestMs: 1_000, longestMs: 3_000, apartMs: 0.25 };
/** Longest body of a refused request that is read; with a longer one the connection is closed. In bytes. */
const longestDrainedBody = 64 * 1024;
const logEveryMs = 10_000;
const words =
  "The hub has more requests than it can handle in time. Nothing was changed. Try again after `retry-after`.";

const [bodyBefore = "", bodyAfter = ""] = JSON.stringify(
  toErrorBody(new RequestError("OVERLOADED", words), "{id}"),
).split("{id}");

/**
 * Refuses requests that would wait too long, with 503 and `retry-after`: see `ConcurrencyLimit`. A request counts from
 * the end of its body to its response, so that slow clients do not make the hub appear busy. Platforms' webhooks are
 * refused too: the platforms send them again.
 *
 * A refusal must be cheap, or refusals leave no time for work. So it happens in front of Fastify, without reading
 * route, credential or body, and without a log line. The next request on the same connection is considered only when
 * `retry-after` has passed, so that a client that repeats it at once costs no more.
 */
export class Admission {
  readonly #options: AdmissionOptions;
  readonly #exempt = new Map<string, Exempt>();
  readonly #refusedOn = new WeakMap<Socket, Refused>();
  #lastTurn = Number.NEGATIVE_INFINITY;
  #refusedCount = 0;
  #loggedCount = 0;
  #cancelLog = () => {};

  constructor(options: AdmissionOptions) {
    this.#options = options;
  }

  /** Puts itself in front of the server's request listener, and counts the requests that pass. */
  attach(app: App): void {
    const { clock, limit } = this.#options;
    const server: Server = app.server;
    const [answer] = server.listeners("request") as Answer[];
    server.off("request", answer!).on("request", (request, response) => this.#consider(request, response, answer!));
    app.decorate("load", () => ({ underWay: limit.underWay, limit: limit.limit, refused: this.#refusedCount }));
    app.decorateRequest("endWork", null);
    app.addHook("onRoute", (route) => {
      const { url, config } = route;
      if (config?.admission !== undefined && config.admission !== "uncounted") this.#exempt.set(url, config.admission);
    });
    app.addHook("preValidation", (request, _reply, done) => {
      if (isExempt(request.route.config.admission, request.raw)) return done();
      if (!limit.hasRoom()) return done(new RequestError("OVERLOADED", words, this.#takeTurn(clock.elapsed())));
      if (request.route.config.admission !== "uncounted") request.endWork = limit.begin();
      done();
    });
    app.addHook("onError", (request, _reply, error: Error, done) => {
      if (error.cause instanceof BatcherFull) endWork(request, "dropped");
      done();
    });
    app.addHook("onSend", (request, _reply, payload, done) => {
      endWork(request);
      done(null, payload);
    });
    app.addHook("onResponse", (request, _reply, done) => {
      endWork(request);
      done();
    });
    app.addHook("onClose", async () => this.#logRefusals());
  }

  #consider(request: IncomingMessage, response: ServerResponse, answer: Answer): void {
    const { clock, limit } = this.#options;
    if (limit.hasRoom() || this.#isExemptByPath(request)) {
      answer(request, response);
      return;
    }
    const now = clock.elapsed();
    const refused = this.#refusedOn.get(request.socket);
    if (refused === undefined || now >= refused.turn || refused.isHeld) {
      this.#refuse(request, response, now);
    } else {
      refused.isHeld = true;
      clock.after(refused.turn - now, () => {
        refused.isHeld = false;
        if (!response.destroyed) this.#consider(request, response, answer);
      });
    }
  }

  #isExemptByPath(request: IncomingMessage): boolean {
    const { url = "", method } = request;
    if (method === "OPTIONS") return true;
    const query = url.indexOf("?");
    return isExempt(this.#exempt.get(query < 0 ? url : url.slice(0, query)), request);
  }

  #refuse(request: IncomingMessage, response: ServerResponse, now: number): void {
    const { turn, retryAfterSeconds } = this.#takeTurn(now);
    // A held request keeps its turn, so that only one is held on a connection.
    if (!this.#refusedOn.get(request.socket)?.isHeld) this.#refusedOn.set(request.socket, { turn, isHeld: false });
    const id = this.#options.requestIdOf(request);
    const body = bodyBefore + id + bodyAfter;
    if (isLong(request)) response.shouldKeepAlive = false;
    const headers = {
      ...this.#options.headersFor(request),
      "x-request-id": id,
      "retry-after": String(Math.ceil(retryAfterSeconds)),
      "content-type": "application/json; charset=utf-8",
      "content-length": String(body.length),
    };
    response.writeHead(503, headers).end(body);
  }

  #takeTurn(now: number): { turn: number; retryAfterSeconds: number } {
    if (this.#refusedCount === this.#loggedCount) {
      this.#cancelLog = this.#options.clock.after(logEveryMs, () => this.#logRefusals());
    }
    this.#refusedCount += 1;
    this.#lastTurn = nextTurn(this.#lastTurn, now);
    return { turn: this.#lastTurn, retryAfterSeconds: (this.#lastTurn - now) / 1_000 };
  }

  #logRefusals(): void {
    this.#cancelLog();
    const refused = this.#refusedCount - this.#loggedCount;
    if (refused === 0) return;
    this.#loggedCount = this.#refusedCount;
    const { log, limit } = this.#options;
    log.warn({ refused, under_way: limit.underWay, limit: limit.limit }, "requests were refused because of overload");
  }
}

/** Spreads retries evenly, so that clients do not return all at once. */
export function nextTurn(last: number, now: number): number {
  return Math.min(Math.max(last + waits.apartMs, now + waits.shortestMs), now + waits.longestMs);
}

function endWork(request: FastifyRequest, how?: "dropped"): void {
  request.endWork?.(how);
  request.endWork = null;
}

function isExempt(kind: Exempt | "uncounted" | undefined, { headers }: IncomingMessage): boolean {
  return kind === "always" || (kind === "streams" && headers.accept?.includes("text/event-stream") === true);
}

function isLong({ headers }: IncomingMessage): boolean {
  return headers["transfer-encoding"] !== undefined || Number(headers["content-length"] ?? 0) > longestDrainedBody;
}
