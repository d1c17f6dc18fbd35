import { randomUUID } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { type WebSocket, WebSocketServer } from "ws";
import { errorCodes, invalid, RequestError } from "../errors.ts";
import { isCursor } from "../events/events.ts";
import { toErrorBody } from "../http/errors.ts";
import type { Clock } from "../lib/clock.ts";
import type { Log } from "../lib/postgres.ts";
import { repeat } from "../lib/repeat.ts";
import { type ClientFrame, parseClientFrame } from "./client-frames.ts";
import { FrameQuota } from "./frame-quota.ts";
import { frameOf } from "./frames.ts";
import { type Handshake, type OriginRules, readHandshake, refusal, requireOwnOrigin } from "./handshake.ts";
import type { Reader, Readers } from "./readers.ts";
import { socketOutlet } from "./socket-outlet.ts";
import { cursorOf, send } from "./subscriber.ts";

export interface SocketsDeps {
  readers: Readers;
  clock: Clock;
  log: Log;
  origins: OriginRules;
  clientAddress: (request: IncomingMessage) => string;
  /** What a client says that is not about its own stream. Throws a `RequestError` for what it may not. */
  onFrame: (reader: Reader, frame: OutwardFrame) => Promise<void>;
}

export type OutwardFrame = ClientFrame & { type: "read" | "typing" };

/** Longest frame of a client, in bytes; a longer one ends the socket with 1009. */
export const maxFrameBytes = 16 * 1024;
/** A client that shows no sign of life for three of these is cut off. */
export const heartbeatSeconds = 30;
/** How long a new socket waits for its client's first frame, which says where to begin. */
export const startWithinSeconds = 5;
/** Sockets are looked after by turns, so that ten thousand are not pinged at once. */
const turns = 30;

interface Connection {
  readonly reader: Reader;
  readonly stream: Duplex & { bytesRead?: number };
  readonly outlet: ReturnType<typeof socketOutlet>;
  readonly turn: number;
  /** `bytesRead` when it was last looked after, and for how many heartbeats it has not moved. */
  heard: number;
  silentBeats: number;
  readonly quota: FrameQuota;
  /** Frames that wait or are being handled. */
  waiting: number;
  work: Promise<void>;
  cancelHeld: () => void;
}

/** `/ws`: sockets of clients, each a reader of its workspace's feed. */
export function openSockets({ readers, clock, log, origins, clientAddress, onFrame }: SocketsDeps) {
  const connections = new Map<WebSocket, Connection>();
  const server = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    maxPayload: maxFrameBytes,
    perMessageDeflate: false,
    handleProtocols: (offered) => (offered.has("bearer") ? "bearer" : false),
  });
  let turn = 0;
  const beating = repeat(clock, (heartbeatSeconds * 1_000) / turns, beat, (error) => {
    log.error({ err: error }, "the heartbeat of sockets failed");
  });

  /** Answers an upgrade request, whatever it is. */
  async function upgrade(request: IncomingMessage, stream: Duplex, head: Buffer): Promise<void> {
    const onError = () => stream.destroy();
    stream.on("error", onError);
    try {
      // Source: RFC 6455, 4.1.
      if (request.httpVersion !== "1.1") throw invalid("A socket is opened by HTTP/1.1.");
      requireOwnOrigin(request, origins);
      const handshake = readHandshake(request);
      const admission = await readers.admit(handshake.authorization, clientAddress(request));
      let socket: WebSocket | undefined;
      const reader = await readers.add(admission, () => {
        // Calls back at once, or answers what is no WebSocket handshake itself.
        server.handleUpgrade(request, stream as never, head, (made) => (socket = made));
        return socket === undefined ? null : socketOutlet(socket, stream);
      });
      if (reader === null || socket === undefined) return;
      stream.off("error", onError);
      begin(socket, stream, reader, handshake);
    } catch (error) {
      if (!(error instanceof RequestError)) log.error({ err: error }, "a socket could not be opened");
      if (isShownByClose(request, error)) closeCrowded(request, stream, head);
      else refuse(stream, error);
    }
  }

  function closeCrowded(request: IncomingMessage, stream: Duplex, head: Buffer): void {
    server.handleUpgrade(request, stream as never, head, (socket) => {
      socket.on("error", onSocketError);
      socketOutlet(socket, stream).close("crowded");
    });
  }

  function begin(socket: WebSocket, stream: Duplex, reader: Reader, { cursor }: Handshake): void {
    turn = (turn + 1) % turns;
    const connection: Connection = {
      reader,
      stream,
      outlet: reader.subscriber.outlet as Connection["outlet"],
      turn,
      heard: 0,
      silentBeats: 0,
      quota: new FrameQuota(clock),
      waiting: 0,
      work: Promise.resolve(),
      cancelHeld: () => {},
    };
    connections.set(socket, connection);
    // The listeners are shared: a closure for each of ten thousand sockets would be felt.
    socket.on("message", onMessage).on("close", onClose).on("error", onSocketError);
    const hello = {
      connection_id: randomUUID(),
      heartbeat_seconds: heartbeatSeconds,
      start_within_seconds: startWithinSeconds,
    };
    send(reader.subscriber, frameOf("HELLO", reader.subscriber.cursor, hello));
    if (cursor !== undefined) void handle(connection, { type: "resume", cursor });
    else connection.cancelHeld = clock.after(startWithinSeconds * 1_000, () => void handle(connection, null));
  }

  function onMessage(this: WebSocket, data: Buffer, isBinary: boolean): void {
    const connection = connections.get(this);
    if (connection === undefined || connection.reader.subscriber.state === "closed") return;
    const refusal = connection.quota.take(connection.waiting) ?? (isBinary ? invalid("Frames are text.") : null);
    if (refusal === null) void handle(connection, readFrame(data));
    else if (connection.quota.refuse()) readers.drop(connection.reader, "flood");
    else tellError(connection, refusal);
  }

  /** Handles the frames of one client one after the other; null starts it. Errors are answered with an ERROR frame. */
  function handle(connection: Connection, frame: ClientFrame | Error | null): Promise<void> {
    connection.cancelHeld();
    connection.waiting += 1;
    connection.work = connection.work.then(async () => {
      try {
        if (frame instanceof Error) throw frame;
        await answer(connection, frame);
      } catch (error) {
        // Also when the hub stops, and takes the database away from a resume that is under way.
        if (connection.reader.subscriber.state !== "closed") {
          tellError(connection, error);
          await recover(connection, error);
        }
      }
      connection.waiting -= 1;
    });
    return connection.work;
  }

  /** After an error a client still gets live events, or is disconnected. */
  async function recover({ reader }: Connection, error: unknown): Promise<void> {
    const { subscriber } = reader;
    if (!(error instanceof RequestError) && subscriber.state === "catching-up") readers.drop(reader, "broken");
    else if (subscriber.state === "held") await start(reader).catch(() => readers.drop(reader, "broken"));
  }

  /** Live from HELLO on. */
  async function start(reader: Reader): Promise<void> {
    await readers.release(reader, undefined, () => sendLive(reader));
  }

  /** Sends RESUMING, the events after the cursor, RESUMED and LIVE: clients can distinguish past from new events. */
  async function resume(reader: Reader, from: string): Promise<void> {
    const { subscriber, room } = reader;
    send(subscriber, frameOf("RESUMING", from, { from }));
    // In the same turn, so that no live event comes between.
    await readers.release(reader, isCursor(from) ? from : foreignCursor, (count) => {
      send(subscriber, frameOf("RESUMED", room.cursor(), { from, count }));
      sendLive(reader);
    });
  }

  function sendLive({ subscriber, room }: Reader): void {
    send(subscriber, frameOf("LIVE", room.cursor(), {}));
  }

  async function answer({ reader }: Connection, frame: ClientFrame | null): Promise<void> {
    const { subscriber, room } = reader;
    if (subscriber.state === "closed") return;
    if (frame?.type === "resume") return resume(reader, frame.cursor);
    if (subscriber.state === "held") await start(reader);
    if (frame === null || frame.type === "start") return;
    if (frame.type === "ping") return send(subscriber, frameOf("PONG", room.cursor(), {}));
    await onFrame(reader, frame);
  }

  function tellError({ reader }: Connection, error: unknown): void {
    const known =
      error instanceof RequestError ? error : new RequestError("INTERNAL", "Something went wrong here: try again.");
    if (known !== error) log.error({ err: error }, "a frame of a socket failed");
    const { code, message, details = {} } = known;
    send(reader.subscriber, frameOf("ERROR", cursorOf(reader), { code, message, details }));
  }

  function onClose(this: WebSocket): void {
    const connection = connections.get(this);
    if (connection === undefined) return;
    connections.delete(this);
    connection.cancelHeld();
    readers.remove(connection.reader);
  }

  async function beat(): Promise<void> {
    turn = (turn + 1) % turns;
    for (const connection of connections.values()) if (connection.turn === turn) lookAfter(connection);
  }

  function lookAfter(connection: Connection): void {
    const heard = connection.stream.bytesRead ?? 0;
    connection.silentBeats = heard === connection.heard ? connection.silentBeats + 1 : 0;
    connection.heard = heard;
    if (connection.silentBeats >= 3) readers.drop(connection.reader, "silent");
    else connection.outlet.ping();
  }

  return {
    upgrade,
    count: () => connections.size,
    /** The readers are dropped before; what has not closed within a second is cut off. */
    async close(): Promise<void> {
      await beating.close();
      const { promise, resolve } = Promise.withResolvers<void>();
      const isOver = () => connections.size === 0 && resolve();
      for (const socket of connections.keys()) socket.once("close", () => setImmediate(isOver));
      isOver();
      const timer = setTimeout(resolve, closeWaitMs);
      await promise;
      clearTimeout(timer);
      for (const socket of connections.keys()) socket.terminate();
      server.close();
    },
  };
}

const closeWaitMs = 1_000;

/** As soon as it arrives: a frame that waits is small, however long its text was. */
function readFrame(data: Buffer): ClientFrame | Error {
  try {
    return parseClientFrame(data);
  } catch (error) {
    return error as Error;
  }
}

/** A connection that breaks closes by itself; what it was is of no interest. */
function onSocketError(): void {}

/** Beyond the end of every feed: reading from there is a GAP with the reason unknown. */
const foreignCursor = "9".repeat(15);

/** Whether the client is a page: pages see close codes, but not the answer to a handshake. */
function isShownByClose({ headers }: IncomingMessage, error: unknown): boolean {
  return headers.origin !== undefined && error instanceof RequestError && error.code === "RATE_LIMIT_EXCEEDED";
}

/** Refuses an upgrade at any other path. */
export function refuseUnknown(stream: Duplex): void {
  refuse(stream, new RequestError("RESOURCE_NOT_FOUND", "Sockets open at /ws."));
}

/** Answers an upgrade request without a socket. */
export function refuse(stream: Duplex, error: unknown): void {
  if (stream.destroyed) return;
  const known =
    error instanceof RequestError ? error : new RequestError("INTERNAL", "Something went wrong here: try again.");
  // If the client has disconnected already, the stream emits an error, which would end the process without a listener.
  stream.on("error", () => stream.destroy());
  // A client that does not disconnect would keep it open for ever.
  stream.once("finish", () => stream.destroy());
  stream.end(refusal(known, errorCodes[known.code].http, toErrorBody(known, randomUUID())));
}
