import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { answerClientError, requestTimeout } from "./errors.ts";
import type { DoorLimits } from "./limits.ts";

declare module "fastify" {
  interface FastifyContextConfig {
    /** Its body is streamed, and may take as long as it moves. */
    hasSlowBody?: boolean;
  }
}

/** How long a client may go on sending the body of a refused request: cut at once, it might lose the response. */
const lingerMs = 2_000;

/**
 * Bodies of files: a part of 5 MiB takes longer than `requestTimeoutMs` below 90 KB/s. They end after `silentBodyMs`
 * without a byte, or `slowBodyMs` in all. Every other request keeps its time limit.
 */
export class SlowBodies {
  readonly #limits: Pick<DoorLimits, "silentBodyMs" | "slowBodyMs">;
  readonly #sockets = new WeakSet<Socket>();

  constructor(limits: Pick<DoorLimits, "silentBodyMs" | "slowBodyMs">) {
    this.#limits = limits;
  }

  /** Call it before the body is read. The response may then take as long as the work does, which has its own limits. */
  allow(request: IncomingMessage, response: ServerResponse): void {
    const { socket } = request;
    const { silentBodyMs, slowBodyMs } = this.#limits;
    // The client may have disconnected while its credential was verified.
    if (request.destroyed) return;
    if (request.complete) return void socket.setTimeout(0);
    const cut = () => answerClientError({ code: requestTimeout }, socket);
    const deadline = setTimeout(cut, slowBodyMs);
    this.#sockets.add(socket);
    request.setTimeout(silentBodyMs, cut);
    request.once("end", () => {
      // Once the response has been sent, the socket waits for the next request.
      if (!response.writableEnded) socket.setTimeout(0);
    });
    const end = () => {
      clearTimeout(deadline);
      this.#sockets.delete(socket);
      socket.off("close", end);
    };
    request.once("close", end);
    // A request that has its response is not closed with the socket.
    socket.once("close", end);
    response.once("finish", () => {
      if (!request.complete) setTimeout(() => void (request.complete || socket.destroy()), lingerMs).unref();
    });
  }

  /** For the event `clientError`: Node.js has one time limit for all requests, and leaves it to this listener to enforce it. */
  readonly onClientError = (error: { code?: string }, socket: Socket): void => {
    if (error.code !== requestTimeout || !this.#sockets.has(socket)) answerClientError(error, socket);
  };
}
