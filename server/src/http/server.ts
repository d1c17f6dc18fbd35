import { randomUUID } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { SerializerSelector } from "@fastify/fast-json-stringify-compiler";
import type { TypeBoxTypeProvider } from "@fastify/type-provider-typebox";
import fastify, { type FastifyRequest, type FastifySerializerCompiler, LogController } from "fastify";
import type { Logger } from "pino";
import type { Access } from "../../../contract/src/access.ts";
import type { Origin } from "../audit/audit.ts";
import { type Principal, requireRole, requireScope } from "../credentials/credentials.ts";
import type { RequestDb } from "../database-roles.ts";
import { forbidden, RequestError } from "../errors.ts";
import type { Certificate } from "../lib/certificate.ts";
import { type Clock, systemClock } from "../lib/clock.ts";
import { openConcurrencyLimit } from "../lib/concurrency-limit.ts";
import { Admission } from "./admission.ts";
import { openAllowed } from "./allowed-methods.ts";
import { clientAddress, openTrust, type TrustedProxies } from "./client-address.ts";
import { compileLazily } from "./compile-lazily.ts";
import { allowOrigins, headersForOrigins } from "./cors.ts";
import { credentialOf } from "./credential.ts";
import { answerError, answerNotFound } from "./errors.ts";
import { parseJsonBodies } from "./json-body.ts";
import { type DoorLimits, doorLimits, refuseHeaders, refuseQuery, serverOptions } from "./limits.ts";
import { bindCursors } from "./pages.ts";
import { securityHeaders, tlsHeaders } from "./security-headers.ts";
import { SlowBodies } from "./slow-bodies.ts";
import { tlsOptions } from "./tls.ts";
import { compileValidator } from "./validation.ts";

declare module "fastify" {
  interface FastifyRequest {
    /** `routeOptions`, which Fastify makes again each time that it is read. */
    route: FastifyRequest["routeOptions"];
    /** The caller; set on every route that is not public, as is `db`. */
    principal: Principal;
    db: RequestDb;
    /** For a request with an `Idempotency-Key`: the same at every retry; null for other requests. */
    workId: string | null;
    /** The body of the response of an earlier try with the same key, which was `isDoneInPart`; else null. */
    donePart: unknown;
    /** Set by a route whose response contains errors that a retry may overcome: then it is not the last response. */
    isDoneInPart: boolean;
  }
  interface FastifyContextConfig {
    access?: Access;
  }
}

export interface RestOptions {
  log: Logger;
  authenticate: (authorization: string | undefined) => Principal | Promise<Principal>;
  dbOf: (workspaceId: string) => RequestDb;
  corsOrigins?: readonly string[];
  trustedProxies?: TrustedProxies;
  certificate?: Certificate | null;
  limits?: Partial<DoorLimits>;
  /** For tests: a wrong schema throws at the start. Default: a schema is compiled at the first request of its route. */
  compilesAtStart?: boolean;
  /** The expected wait for a response above which requests are refused, in milliseconds. */
  admissionWaitMs?: number;
  clock?: Clock;
}

const saneRequestId = /^[A-Za-z0-9._:-]{1,128}$/;

function requestIdOf({ headers }: Pick<IncomingMessage, "headers">): string {
  const given = headers["x-request-id"];
  return typeof given === "string" && saneRequestId.test(given) ? given : randomUUID();
}

/** The HTTP server without its routes: request ids, credentials, strict validation, errors in one shape. */
export async function openRestServer({ log, authenticate, dbOf, ...options }: RestOptions) {
  const limits = { ...doorLimits, ...options.limits };
  const { certificate = null, corsOrigins = [], trustedProxies = null } = options;
  const slowBodies = new SlowBodies(limits);
  const everyAnswer = { ...securityHeaders, ...(certificate === null ? {} : tlsHeaders) };
  const app = fastify({
    http: serverOptions(limits),
    ...withTls(limits, certificate),
    loggerInstance: log,
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: limits.maxBodyBytes,
    requestTimeout: limits.requestTimeoutMs,
    connectionTimeout: limits.stalledTimeoutMs,
    keepAliveTimeout: limits.keepAliveTimeoutMs,
    forceCloseConnections: "idle",
    // Its response would not be an error of ours: see `isClosing`.
    return503OnClosing: false,
    trustProxy: trustedProxies !== null && openTrust(trustedProxies),
    // What fails before a route is found: no hook has run by then.
    frameworkErrors: (error, request, reply) => {
      reply.headers(everyAnswer).header("x-request-id", request.id);
      answerError(error, request, reply);
    },
    clientErrorHandler: slowBodies.onClientError,
    routerOptions: { maxParamLength: 300 },
    genReqId: requestIdOf,
    // A logger of its own for each request would cost more than parsing it. What a request logs names its id.
    childLoggerFactory: (logger) => logger,
  }).withTypeProvider<TypeBoxTypeProvider>();
  app.server.maxConnections = limits.maxConnections;
  // `refuseHeaders` counts them: Node would silently drop those beyond a number, `authorization` among them.
  app.server.maxHeadersCount = 0;
  const originHeaders = headersForOrigins(corsOrigins);
  const { clock = systemClock } = options;
  new Admission({
    clock,
    log,
    limit: openConcurrencyLimit({ elapsed: () => clock.elapsed(), targetMs: options.admissionWaitMs }),
    requestIdOf,
    headersFor: ({ headers }) => ({ ...everyAnswer, ...originHeaders(headers.origin) }),
  }).attach(app);
  // Read now, so that the audit log has it even if the client disconnects.
  for (const event of ["connection", "secureConnection"]) app.server.on(event, ({ remoteAddress }) => remoteAddress);
  const compileSerializer = SerializerSelector()({}, {}) as FastifySerializerCompiler<unknown>;
  if (options.compilesAtStart) {
    app.setValidatorCompiler(compileValidator);
    app.setSerializerCompiler(compileSerializer);
  } else compileLazily(app, compileSerializer);
  parseJsonBodies(app);
  const allowedAt = openAllowed();
  allowedAt.add("/ws", "GET");
  app.setNotFoundHandler((request, reply) => answerNotFound(request, reply, allowedAt.find(request.url)));
  app.addHook("onRoute", (route) => {
    const { method, url, config } = route;
    allowedAt.add(url, method);
    if (config?.access === undefined) throw new Error(`${method} ${url} does not say who may call it.`);
    bindCursors(route);
  });
  app.decorateRequest("route", null as unknown as FastifyRequest["routeOptions"]);
  app.decorateRequest("principal", null as unknown as Principal);
  app.decorateRequest("db", null as unknown as RequestDb);
  app.decorateRequest("workId", null);
  app.decorateRequest("donePart", null);
  app.decorateRequest("isDoneInPart", false);
  let isClosing = false;
  app.addHook("preClose", async () => {
    isClosing = true;
  });
  app.addHook("onRequest", (request, reply, done) => {
    request.route = request.routeOptions;
    reply.headers(everyAnswer).header("x-request-id", request.id);
    const refusal = refuseHeaders(request.raw, limits) ?? refuseQuery(request.url);
    if (refusal !== undefined) return done(refusal);
    // `GET /v1/messages/batch` would be read as a message with the id `batch`.
    const own = request.route.url?.includes(":") ? allowedAt.ofLiteral(request.url) : null;
    if (own === null || own.includes(request.method)) return done();
    answerNotFound(request, reply, own);
  });
  app.addHook("onRequest", allowOrigins(originHeaders));
  app.addHook("onRequest", (request, _reply, done) => {
    if (isClosing) return done(stopping());
    const access = request.route.config.access;
    if (access === undefined || access === "public") return done();
    // Mostly served from memory, at once: see `openAuthenticator`.
    const principal = authenticate(credentialOf(request.raw));
    if (!(principal instanceof Promise)) return done(admit(request, access, principal, dbOf));
    principal.then(
      (known) => done(admit(request, access, known, dbOf)),
      (error: Error) => done(error),
    );
  });
  app.addHook("onRequest", (request, reply, done) => {
    if (request.route.config.hasSlowBody) slowBodies.allow(request.raw, reply.raw);
    done();
  });
  app.setErrorHandler(answerError);
  return app;
}

function stopping(): RequestError {
  const message = "This process of the hub is stopping. Nothing was changed; try again.";
  return new RequestError("OVERLOADED", message, { retryAfterSeconds: 1 });
}

function withTls(limits: DoorLimits, certificate: Certificate | null): object {
  if (certificate === null) return {};
  const { handshakeTimeoutMs: handshakeTimeout } = limits;
  return { https: { ...serverOptions(limits), ...tlsOptions(certificate), handshakeTimeout } };
}

function admit(
  request: FastifyRequest,
  access: Exclude<Access, "public">,
  principal: Principal,
  dbOf: RestOptions["dbOf"],
): Error | undefined {
  try {
    requireRole(principal, access.role);
    if (access.session && principal.kind === "api_key") {
      throw forbidden("An API key cannot do this: log in as the user who created it.");
    }
    if (typeof access.scope === "string") requireScope(principal, access.scope);
    else if (access.scope !== undefined) requireScope(principal, ...access.scope);
    request.principal = { ...principal, origin: originOf(request) };
    request.db = dbOf(principal.workspaceId);
    return undefined;
  } catch (error) {
    return error as Error;
  }
}

/** The IP address is read when something is recorded, which most requests do not. */
export function originOf(request: FastifyRequest): Origin {
  return {
    get ip() {
      return clientAddress(request);
    },
    requestId: request.id,
  };
}
