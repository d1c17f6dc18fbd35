import type { FastifyInstance } from "fastify";
import { StoreBusy } from "../media/media-store.ts";
import { Problem } from "../problem.ts";
import type { Simulation } from "../simulation.ts";
import { serveMedia } from "./media.ts";
import { serveMessages, serveSignals } from "./messages.ts";
import { servePage } from "./page.ts";
import { servePeople } from "./people.ts";
import { serveAccounts, serveFaults, serveState } from "./state.ts";

/** Serves the control surface: what drives the simulator and shows what it got. Connectors never need it. */
export function serveControl(app: FastifyInstance, simulation: Simulation): void {
  answerErrors(app);
  allowEmptyBodies(app);
  servePage(app, simulation);
  serveMessages(app, simulation);
  serveSignals(app, simulation);
  serveMedia(app, simulation);
  servePeople(app, simulation);
  serveFaults(app, simulation);
  serveState(app, simulation);
  serveAccounts(app, simulation);
}

export function answerErrors(app: FastifyInstance): void {
  app.setErrorHandler((error, request, reply) => {
    const problem = toProblem(error);
    if (problem.status === 503) reply.header("retry-after", "1");
    reply.code(problem.status).send(envelope(problem.code, problem.message, request.id));
  });
  app.setNotFoundHandler((request, reply) => {
    const message = `there is no ${request.method} ${request.url.split("?", 1)[0]}; GET /_sim/ shows what there is`;
    reply.code(404).send(envelope("RESOURCE_NOT_FOUND", message, request.id));
  });
}

/** Many clients name JSON as the content type even when they send nothing. */
function allowEmptyBodies(app: FastifyInstance): void {
  const parse = app.getDefaultJsonParser("error", "error");
  app.removeContentTypeParser("application/json");
  app.addContentTypeParser("application/json", { parseAs: "string" }, (request, body, done) => {
    if (body === "") done(null, undefined);
    else parse(request, body as string, done);
  });
}

function envelope(code: string, message: string, requestId: string): unknown {
  return { success: false, error: { code, message, details: {}, request_id: requestId } };
}

function toProblem(error: unknown): Problem {
  if (error instanceof Problem) return error;
  if (error instanceof StoreBusy) return new Problem(503, "OVERLOADED", error.message);
  const { statusCode, message, stack } = error as Error & { statusCode?: number };
  if (statusCode === 413) return new Problem(413, "PAYLOAD_TOO_LARGE", message);
  if (statusCode !== undefined && statusCode < 500) return new Problem(400, "VALIDATION_ERROR", message);
  process.stderr.write(`simulator: a control call failed: ${stack}\n`);
  return new Problem(500, "INTERNAL", "the simulator failed; its stderr says how");
}
