import { randomUUID } from "node:crypto";
import type { Duplex } from "node:stream";
import { invalid, RequestError } from "../errors.ts";
import { isCursor } from "../events/events.ts";
import type { Clock } from "../lib/clock.ts";
import type { Log } from "../lib/postgres.ts";
import type { Client } from "./client.ts";
import { type ClientFrame, parseClientFrame } from "./client-frames.ts";
import type { Clients } from "./clients.ts";
import { FrameQuota } from "./frame-limits.ts";
import { frameOf } from "./frames.ts";
import type { socketOutlet } from "./outlet.ts";

export interface ConnectionDeps {
  clients: Clients;
  clock: Clock;
  log: Log;
  /** Handles a frame that is not about the client's own subscription. Throws a `RequestError`. */
  onFrame: (client: Client, frame: OutwardFrame) => Promise<void>;
}

interface SocketParts {
  client: Client;
  stream: Duplex;
  outlet: ReturnType<typeof socketOutlet>;
  turn: number;
}

export type OutwardFrame = ClientFrame & { type: "read" | "typing" };

export const heartbeatSeconds = 30;
export const maxSilentBeats = 3;
/** How long a new socket waits for its client's first frame, which says where to begin. */
const startWithinSeconds = 5;
/** Beyond the end of every feed: resuming from there is a GAP with the reason unknown. */
const foreignCursor = "9".repeat(15);

export class SocketConnection {
  readonly client: Client;
  readonly turn: number;
  readonly #stream: Duplex & { bytesRead?: number };
  readonly #outlet: ReturnType<typeof socketOutlet>;
  readonly #deps: ConnectionDeps;
  readonly #quota: FrameQuota;
  /** `bytesRead` at the last heartbeat, and for how many heartbeats it has not changed. */
  #bytesRead = 0;
  #silentBeats = 0;
  /** Frames that wait, with the one that is handled. */
  #waiting = 0;
  #work: Promise<void> = Promise.resolve();
  #cancelStart = () => {};

  constructor({ client, stream, outlet, turn }: SocketParts, deps: ConnectionDeps) {
    this.client = client;
    this.turn = turn;
    this.#stream = stream;
    this.#outlet = outlet;
    this.#deps = deps;
    this.#quota = new FrameQuota(deps.clock);
  }

  /** Sends HELLO and resumes from the cursor of the handshake; without one, waits for the client's first frame. */
  begin(cursor: string | undefined): void {
    const { client } = this;
    const hello = {
      connection_id: randomUUID(),
      heartbeat_seconds: heartbeatSeconds,
      start_within_seconds: startWithinSeconds,
    };
    client.send(frameOf("HELLO", client.cursor(), hello));
    if (cursor !== undefined) this.#handle({ type: "resume", cursor });
    else this.#cancelStart = this.#deps.clock.after(startWithinSeconds * 1_000, () => this.#handle(null));
  }

  receive(data: Buffer, isBinary: boolean): void {
    if (this.client.state === "closed") return;
    const refusal = this.#quota.take(this.#waiting) ?? (isBinary ? invalid("Frames are text.") : null);
    // Parsed as soon as it arrives: a parsed frame that waits is small, however long its text was.
    if (refusal === null) this.#handle(parse(data));
    else if (this.#quota.refuse()) this.#deps.clients.disconnect(this.client, "flood");
    else this.#sendError(refusal);
  }

  beat(): void {
    const bytesRead = this.#stream.bytesRead ?? 0;
    this.#silentBeats = bytesRead === this.#bytesRead ? this.#silentBeats + 1 : 0;
    this.#bytesRead = bytesRead;
    if (this.#silentBeats >= maxSilentBeats) this.#deps.clients.disconnect(this.client, "silent");
    else this.#outlet.ping();
  }

  end(): void {
    this.#cancelStart();
    this.#deps.clients.remove(this.client);
  }

  /** Handles frames one after the other; null starts the client. Errors get an ERROR frame. */
  #handle(frame: ClientFrame | Error | null): void {
    this.#cancelStart();
    this.#waiting += 1;
    this.#work = this.#work.then(async () => {
      try {
        if (frame instanceof Error) throw frame;
        await this.#answer(frame);
      } catch (error) {
        // A resume under way also fails when the hub stops and closes the database.
        if (this.client.state !== "closed") {
          this.#sendError(error);
          await this.#recover(error);
        }
      }
      this.#waiting -= 1;
    });
  }

  async #answer(frame: ClientFrame | null): Promise<void> {
    const { client } = this;
    if (client.state === "closed") return;
    if (frame?.type === "resume") return this.#resume(frame.cursor);
    if (client.state === "held") await this.#start();
    if (frame === null || frame.type === "start") return;
    if (frame.type === "ping") return client.send(frameOf("PONG", client.cursor(), {}));
    await this.#deps.onFrame(client, frame);
  }

  async #start(): Promise<void> {
    await this.#deps.clients.release(this.client, undefined, () => this.#sendLive());
  }

  /** Sends RESUMING, the events after the cursor, RESUMED and LIVE: clients can distinguish past from new events. */
  async #resume(from: string): Promise<void> {
    const { client } = this;
    client.send(frameOf("RESUMING", from, { from }));
    // In the same turn, so that no live event comes between.
    await this.#deps.clients.release(client, isCursor(from) ? from : foreignCursor, (count) => {
      client.send(frameOf("RESUMED", client.cursor(), { from, count }));
      this.#sendLive();
    });
  }

  /** After an error the client still gets live events, or is disconnected. */
  async #recover(error: unknown): Promise<void> {
    const { clients } = this.#deps;
    const disconnect = () => clients.disconnect(this.client, "broken");
    if (!(error instanceof RequestError) && this.client.state === "catching-up") disconnect();
    else if (this.client.state === "held") await this.#start().catch(disconnect);
  }

  #sendLive(): void {
    this.client.send(frameOf("LIVE", this.client.cursor(), {}));
  }

  #sendError(error: unknown): void {
    const known = error instanceof RequestError ? error : internalError();
    if (known !== error) this.#deps.log.error({ err: error }, "a frame of a socket could not be handled");
    const { code, message, details = {} } = known;
    this.client.send(frameOf("ERROR", this.client.cursor(), { code, message, details }));
  }
}

export function internalError(): RequestError {
  return new RequestError("INTERNAL", "Internal error. Try again.");
}

function parse(data: Buffer): ClientFrame | Error {
  try {
    return parseClientFrame(data);
  } catch (error) {
    return error as Error;
  }
}
