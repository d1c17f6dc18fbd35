import { randomUUID } from "node:crypto";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { errorCodes, RequestError } from "../errors.ts";
import { toErrorBody } from "./errors.ts";
import { headersTooLarge } from "./limits.ts";
import { securityHeaders } from "./security-headers.ts";

/** What is not even HTTP, or came too slowly: told on the bare socket, which is then closed. */
export function openMalformedAnswers() {
  const underWay = new WeakMap<Socket, Set<Exchange>>();

  return {
    /** From then on it is known which requests of a socket wait for their answer. */
    watch(server: Server): void {
      server.on("request", (request, response) => {
        const { socket } = request;
        const exchange = { request, response };
        const all = underWay.get(socket) ?? new Set();
        underWay.set(socket, all.add(exchange));
        response.once("close", () => all.delete(exchange));
      });
    },

    /** An answer that another request waits for is never given to it: then the socket is just closed. */
    answer(error: { code?: string }, socket: Socket): void {
      const isOurTurn = [...(underWay.get(socket) ?? [])].every(waitsForItsOwnRest);
      const isHttp = error.code === timedOut || error.code?.startsWith("HPE_") === true;
      if (isHttp && isOurTurn && socket.writable) hangUp(socket, bareAnswer(explain(error.code)));
      else socket.destroy();
    },
  };
}

interface Exchange {
  request: IncomingMessage;
  response: ServerResponse;
}

/** Whether it is this request that did not arrive. */
function waitsForItsOwnRest({ request, response }: Exchange): boolean {
  return !request.complete && !response.headersSent;
}

/** Node's names for what it finds; beside these there are those of TLS and of the connection, where nobody listens. */
const timedOut = "ERR_HTTP_REQUEST_TIMEOUT";

/** How long the other side may take to hang up as well, in milliseconds: cut at once, it might lose the answer. */
const lingerMs = 1_000;

function hangUp(socket: Socket, answer: string): void {
  const timer = setTimeout(() => socket.destroy(), lingerMs);
  socket.once("close", () => clearTimeout(timer));
  socket.resume();
  socket.end(answer);
}

function explain(code: string | undefined): RequestError {
  switch (code) {
    case timedOut:
      return new RequestError("REQUEST_TIMEOUT", "The request did not arrive in time: send it at once.");
    case "HPE_HEADER_OVERFLOW":
      return headersTooLarge();
    default:
      return new RequestError("VALIDATION_ERROR", "This is not a valid HTTP request.");
  }
}

function bareAnswer(error: RequestError): string {
  const id = randomUUID();
  const body = JSON.stringify(toErrorBody(error, id));
  const headers = {
    ...securityHeaders,
    "x-request-id": id,
    "content-type": "application/json; charset=utf-8",
    "content-length": String(Buffer.byteLength(body)),
    connection: "close",
  };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
  return [`HTTP/1.1 ${reasons[errorCodes[error.code].http]}`, ...lines, "", body].join("\r\n");
}

const reasons: Record<number, string> = {
  400: "400 Bad Request",
  408: "408 Request Timeout",
  431: "431 Request Header Fields Too Large",
};
