import { randomUUID } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { type WebSocket, WebSocketServer } from "ws";
import { errorCodes, invalid, RequestError } from "../errors.ts";
import { toErrorBody } from "../http/errors.ts";
import { type Repeated, repeat } from "../lib/repeat.ts";
import { type OriginRules, readHandshake, refusal, requireOwnOrigin } from "./handshake.ts";
import { socketOutlet } from "./outlet.ts";
import { type ConnectionDeps, heartbeatSeconds, internalError, SocketConnection } from "./socket-connection.ts";

export interface SocketsDeps extends ConnectionDeps {
  origins: OriginRules;
  clientAddress: (request: IncomingMessage) => string;
}

/** The longest frame of a client, in bytes; a longer one closes the socket with 1009. */
export const maxFrameBytes = 16 * 1024;
/** Sockets are pinged by turns, so that ten thousand are not pinged at once. */
const turns = 30;
/** How long the end waits for sockets to close, in milliseconds. */
const closeWaitMs = 1_000;

export class Sockets {
  readonly #deps: SocketsDeps;
  readonly #connections = new Map<WebSocket, SocketConnection>();
  readonly #server = openSocketServer();
  readonly #beating: Repeated;
  /** Shared by all sockets: a closure of each would keep its upgrade request in memory. */
  readonly #onMessage: (this: WebSocket, data: Buffer, isBinary: boolean) => void;
  readonly #onClose: (this: WebSocket) => void;
  #turn = 0;

  constructor(deps: SocketsDeps) {
    this.#deps = deps;
    const connections = this.#connections;
    this.#onMessage = function (data, isBinary) {
      connections.get(this)?.receive(data, isBinary);
    };
    this.#onClose = function () {
      connections.get(this)?.end();
      connections.delete(this);
    };
    this.#beating = repeat(
      deps.clock,
      (heartbeatSeconds * 1_000) / turns,
      () => this.#beat(),
      (error) => deps.log.error({ err: error }, "the heartbeat of sockets failed"),
    );
  }

  async upgrade(request: IncomingMessage, stream: Duplex, head: Buffer): Promise<void> {
    const { clients, origins, clientAddress, log } = this.#deps;
    const onError = () => stream.destroy();
    stream.on("error", onError);
    try {
      requireHttp11(request);
      requireOwnOrigin(request, origins);
      const { authorization, cursor } = readHandshake(request);
      const admission = await clients.admit(authorization, clientAddress(request));
      let opened: { socket: WebSocket; outlet: ReturnType<typeof socketOutlet> } | undefined;
      const client = await clients.add(admission, () => {
        // Calls back at once, or responds itself to a request that is no WebSocket handshake.
        this.#server.handleUpgrade(request, stream as never, head, (socket) => {
          opened = { socket, outlet: socketOutlet(socket, stream) };
        });
        return opened?.outlet ?? null;
      });
      if (client === null || opened === undefined) return;
      stream.off("error", onError);
      const { socket, outlet } = opened;
      this.#turn = (this.#turn + 1) % turns;
      const connection = new SocketConnection({ client, stream, outlet, turn: this.#turn }, this.#deps);
      this.#connections.set(socket, connection);
      socket.on("message", this.#onMessage).on("close", this.#onClose).on("error", onSocketError);
      connection.begin(cursor);
    } catch (error) {
      if (!(error instanceof RequestError)) log.error({ err: error }, "a socket could not be opened");
      refuseUpgrade(this.#server, { request, stream, head }, error);
    }
  }

  /** Call it after `Clients.close`. Cuts the sockets that do not close in time. */
  async close(): Promise<void> {
    await this.#beating.close();
    await endSockets([...this.#connections.keys()]);
    this.#server.close();
  }

  async #beat(): Promise<void> {
    this.#turn = (this.#turn + 1) % turns;
    for (const connection of this.#connections.values()) if (connection.turn === this.#turn) connection.beat();
  }
}

function onSocketError(): void {}

export function openSocketServer(): WebSocketServer {
  return new WebSocketServer({
    noServer: true,
    clientTracking: false,
    maxPayload: maxFrameBytes,
    perMessageDeflate: false,
    handleProtocols: (offered) => (offered.has("bearer") ? "bearer" : false),
  });
}

/** Waits for sockets that are being closed, and cuts those that do not close in time. */
export async function endSockets(sockets: readonly WebSocket[]): Promise<void> {
  const open = sockets.filter((socket) => socket.readyState !== socket.CLOSED);
  const closed = open.map((socket) => new Promise<void>((resolve) => void socket.once("close", () => resolve())));
  const { promise: late, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, closeWaitMs);
  await Promise.race([Promise.all(closed), late]);
  clearTimeout(timer);
  for (const socket of open) if (socket.readyState !== socket.CLOSED) socket.terminate();
}

/** Source: RFC 6455, 4.1. */
export function requireHttp11({ httpVersion }: IncomingMessage): void {
  if (httpVersion !== "1.1") throw invalid("Open a socket with HTTP/1.1.");
}

export function refuseUpgrade(
  server: WebSocketServer,
  { request, stream, head }: { request: IncomingMessage; stream: Duplex; head: Buffer },
  error: unknown,
): void {
  if (isShownByClose(request, error)) {
    server.handleUpgrade(request, stream as never, head, (socket) => {
      socket.on("error", onSocketError);
      socketOutlet(socket, stream).close("crowded");
    });
  } else refuse(stream, error);
}

/** Web pages see close codes, but not the response to a handshake. */
function isShownByClose({ headers }: IncomingMessage, error: unknown): boolean {
  return headers.origin !== undefined && error instanceof RequestError && error.code === "RATE_LIMIT_EXCEEDED";
}

export function refuseUnknown(stream: Duplex): void {
  refuse(stream, new RequestError("RESOURCE_NOT_FOUND", "Sockets open at /ws and /ws/tasks/{task_id}."));
}

export function refuse(stream: Duplex, error: unknown): void {
  if (stream.destroyed) return;
  const known = error instanceof RequestError ? error : internalError();
  // If the client has disconnected already, the stream emits an error, which would end the process without a listener.
  stream.on("error", () => stream.destroy());
  // A client that does not disconnect would keep it open forever.
  stream.once("finish", () => stream.destroy());
  stream.end(refusal(known, errorCodes[known.code].http, toErrorBody(known, randomUUID())));
}
