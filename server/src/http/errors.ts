import { randomUUID } from "node:crypto";
import { type ServerResponse, STATUS_CODES } from "node:http";
import type { Socket } from "node:net";
import type { ErrorObject } from "ajv";
import type { FastifyError, FastifyReply, FastifyRequest } from "fastify";
import type { OperationShape } from "../../../contract/src/operation.ts";
import { type ErrorCode, errorCodes, RequestError } from "../errors.ts";
import { faultCode, isDatabaseTrouble } from "../lib/faults.ts";
import { doorLimits, headersTooLarge } from "./limits.ts";
import { securityHeaders } from "./security-headers.ts";
import { violation } from "./validation.ts";

declare module "fastify" {
  interface FastifyContextConfig {
    /** Of the request; default: JSON. */
    bodyType?: OperationShape["bodyType"];
  }
}

/** An unknown error is logged, and returned as INTERNAL without its message. */
export function answerError(error: unknown, request: FastifyRequest, reply: FastifyReply): void {
  const { bodyLimit, config } = request.routeOptions;
  const known = toRequestError(error, bodyLimit, config?.bodyType);
  if (known.cause !== undefined && isDatabaseTrouble(known.cause)) {
    request.log.warn(
      { code: faultCode(known.cause), request_id: request.id },
      "a request failed because the database did",
    );
  }
  if (known.code === "INTERNAL") request.log.error({ err: error, request_id: request.id }, "a request failed");
  if (known.retryAfterSeconds !== undefined) reply.header("retry-after", String(Math.ceil(known.retryAfterSeconds)));
  if (errorCodes[known.code].http === 401) reply.header("www-authenticate", "Bearer");
  reply.status(errorCodes[known.code].http).send(toErrorBody(known, request.id));
}

export function answerNotFound(request: FastifyRequest, reply: FastifyReply, allowed: readonly string[]): void {
  const path = request.url.split("?", 1)[0];
  // A route that has the request's own method has returned 404 itself.
  if (allowed.length > 0 && !allowed.includes(request.method)) {
    reply.header("allow", allowed.join(", "));
    const message = `${request.method} is not possible at ${path}: use ${allowed.join(", ")}.`;
    answerError(new RequestError("METHOD_NOT_ALLOWED", message), request, reply);
    return;
  }
  answerError(new RequestError("RESOURCE_NOT_FOUND", `There is nothing at ${request.method} ${path}.`), request, reply);
}

/** The code with which Node.js says that a request did not arrive in time. */
export const requestTimeout = "ERR_HTTP_REQUEST_TIMEOUT";

/** How long a client may take to disconnect after it sent no valid request: cut at once, it might lose the response. */
const lingerMs = 1_000;

/**
 * Responds to what is not an HTTP request, or was sent too slowly, and closes the socket. While another request of the socket
 * waits for its response, the socket is only closed: this response would be taken for the other one.
 */
export function answerClientError({ code }: { code?: string }, socket: Socket): void {
  const response = (socket as { _httpMessage?: ServerResponse | null })._httpMessage;
  const isFree = !response || (!response.req.complete && !response.headersSent);
  const error = code === requestTimeout ? tooSlow() : code?.startsWith("HPE_") ? notHttp(code) : null;
  if (error === null || !isFree || !socket.writable) return void socket.destroy();
  const id = randomUUID();
  const body = JSON.stringify(toErrorBody(error, id));
  const status = errorCodes[error.code].http;
  const headers = {
    ...securityHeaders,
    "x-request-id": id,
    "content-type": "application/json; charset=utf-8",
    "content-length": String(Buffer.byteLength(body)),
    connection: "close",
  };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
  setTimeout(() => socket.destroy(), lingerMs).unref();
  socket.resume();
  socket.end([`HTTP/1.1 ${status} ${STATUS_CODES[status]}`, ...lines, "", body].join("\r\n"));
}

const tooSlow = () =>
  new RequestError("REQUEST_TIMEOUT", "The request did not arrive in time: send it without pauses.");
const notHttp = (code: string) =>
  code === "HPE_HEADER_OVERFLOW"
    ? headersTooLarge()
    : new RequestError("VALIDATION_ERROR", "This is not a valid HTTP request.");

export function toErrorBody(error: RequestError, requestId: string) {
  const { code, message, details = {} } = error;
  return { success: false as const, error: { code, message, details, request_id: requestId } };
}

export function wrongContentType(accepted: OperationShape["bodyType"]): RequestError {
  const send =
    accepted === undefined ? "JSON with content-type: application/json" : `a form with content-type: ${accepted}`;
  return new RequestError("CONTENT_TYPE_INVALID", `This content type is not accepted here. Send ${send}.`);
}

const frameworkCodes: Record<string, ErrorCode> = {
  FST_ERR_CTP_BODY_TOO_LARGE: "PAYLOAD_TOO_LARGE",
  FST_ERR_CTP_EMPTY_JSON_BODY: "VALIDATION_ERROR",
  FST_ERR_CTP_INVALID_JSON_BODY: "VALIDATION_ERROR",
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: "VALIDATION_ERROR",
};

/** PostgreSQL's error for a text with U+0000, which it cannot store. Source: PostgreSQL 18, appendix A. */
const unstorable = "22021";

export function toRequestError(
  error: unknown,
  bodyLimitBytes = doorLimits.maxBodyBytes,
  bodyType?: OperationShape["bodyType"],
): RequestError {
  if (error instanceof RequestError) return error;
  const thrown = error as Partial<FastifyError>;
  if (thrown.validation?.[0] !== undefined) {
    return violation(thrown.validation[0] as ErrorObject, thrown.validationContext ?? "body");
  }
  const code = frameworkCodes[thrown.code ?? ""];
  if (code === "PAYLOAD_TOO_LARGE") {
    return new RequestError(code, `The body is larger than ${bodyLimitBytes / 1024 / 1024} MiB.`);
  }
  if (thrown.code === "FST_ERR_CTP_INVALID_JSON_BODY")
    return new RequestError("VALIDATION_ERROR", "The body is not valid JSON.");
  if (thrown.code === "FST_ERR_CTP_INVALID_MEDIA_TYPE") {
    return wrongContentType(bodyType);
  }
  if (thrown.code === "FST_ERR_BAD_URL") {
    return new RequestError("VALIDATION_ERROR", "The path is not valid: encode it as UTF-8 with percent encoding.");
  }
  if (thrown.code === "FST_ERR_MAX_PARAM_LENGTH") {
    return new RequestError("VALIDATION_ERROR", "A part of the path is too long.");
  }
  if (code !== undefined) {
    return new RequestError(code, `${thrown.message}. Send JSON with content-type: application/json.`);
  }
  if (thrown.code === unstorable)
    return new RequestError("VALIDATION_ERROR", "Text must not have the character U+0000.");
  if (isDatabaseTrouble(error)) {
    const message = "The database cannot do this now. Nothing was changed; try again.";
    return new RequestError("OVERLOADED", message, { retryAfterSeconds: 2, cause: error });
  }
  if (thrown.statusCode === 400 && error instanceof Error) return new RequestError("VALIDATION_ERROR", error.message);
  return new RequestError("INTERNAL", "Internal error. Give the operator this request id.", { cause: error });
}
