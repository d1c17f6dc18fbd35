import type { GapFrame } from "../../contract/openapi.ts";
import { ApiError, type Call } from "./call.ts";
import { type FrameQueue, openFrameQueue } from "./frame-queue.ts";
import {
  type ErrorFrame,
  type EventFrame,
  type HelloFrame,
  isEvent,
  type LiveFrame,
  type PongFrame,
  type PresenceFrame,
  type RealtimeFrame,
  type ResumedFrame,
  type ResumingFrame,
  type ServerFrame,
  type TypingFrame,
} from "./frames.ts";
import { pause } from "./pause.ts";
import { openRealtimeSocket, type RealtimeSocket, type SocketEnd } from "./realtime-socket.ts";
import type { Session } from "./session.ts";

export interface RealtimeOptions {
  /** Resume after this event; default: from now on. */
  cursor?: string;
  /**
   * One at a time: the next waits for the promise. A handler that throws ends the connection with its error.
   */
  onEvent?(event: EventFrame): void | Promise<void>;
  /** Events are missing: reload what you show. */
  onGap?(gap: GapFrame): void | Promise<void>;
  onTyping?(typing: TypingFrame): void;
  onPresence?(presence: PresenceFrame): void;
  /** A frame of this client was refused. */
  onError?(error: ErrorFrame): void;
  onState?(state: RealtimeState): void;
  /**
   * Most frames that wait for the program (default 1,000). Beyond it the socket is closed, and resumed when they are taken.
   */
  queueSize?: number;
}

/** `waiting`: for the next attempt, or for the program to take frames. */
export type RealtimeState = "connecting" | "open" | "waiting" | "closed";

/**
 * A connection that reconnects and resumes automatically: every event once and in order, or a gap. Without `onEvent`, iterate over it: `for await (const frame of connection)`.
 */
export interface RealtimeConnection extends AsyncIterable<RealtimeFrame>, AsyncDisposable {
  /** Of the last frame that the program has taken; after a restart, resume from it. Null before HELLO. */
  readonly cursor: string | null;
  readonly state: RealtimeState;
  /** Marks everything up to `seq` as read. Lost while there is no socket. */
  read(conversationId: string, seq: number): void;
  typing(conversationId: string): void;
  close(): void;
  /** Resolves after `close`; rejects when the credential is refused or the permission is missing. */
  readonly ended: Promise<void>;
}

interface RealtimeDeps {
  url: string;
  session: Session;
  call: Call;
  WebSocket: typeof WebSocket;
  random: () => number;
}

const credentialCode = 4401;
const forbiddenCode = 4403;
/** The longest wait before the first try after a socket that was open, doubled with each that fails; milliseconds. */
const firstWaitMs = 500;
const longestWaitMs = 30_000;
/** A socket that lasted so long counts as a success, in milliseconds. */
const stableMs = 10_000;
const defaultQueueSize = 1_000;

export function openRealtime(deps: RealtimeDeps, options: RealtimeOptions): RealtimeConnection {
  return new Realtime(deps, options);
}

class Realtime implements RealtimeConnection {
  readonly ended: Promise<void>;
  readonly #deps: RealtimeDeps;
  readonly #options: RealtimeOptions;
  readonly #queue: FrameQueue<ServerFrame>;
  readonly #closing = new AbortController();
  #state: RealtimeState = "connecting";
  /** The cursors of the last received frame, and of the last one that the program took. */
  #received: string | null;
  #taken: string | null;
  #socket: RealtimeSocket | null = null;
  #isFull = false;
  #failure: unknown = null;

  constructor(deps: RealtimeDeps, options: RealtimeOptions) {
    this.#deps = deps;
    this.#options = options;
    this.#queue = openFrameQueue<ServerFrame>(options.queueSize ?? defaultQueueSize);
    this.#received = options.cursor ?? null;
    this.#taken = this.#received;
    options.onState?.(this.#state);
    const finish = (error: unknown) => this.#finish(error);
    const handing = options.onEvent === undefined ? Promise.resolve() : this.#handOut().catch(finish);
    this.ended = this.#keepOpen()
      .then(() => this.#finish(null), finish)
      .then(() => handing)
      .then(() => {
        if (this.#failure !== null) throw this.#failure;
      });
    // Iterating also throws it: `ended` need not be awaited.
    this.ended.catch(() => {});
  }

  get cursor(): string | null {
    return this.#taken;
  }

  get state(): RealtimeState {
    return this.#state;
  }

  read(conversationId: string, seq: number): void {
    this.#socket?.say({ type: "read", conversation_id: conversationId, seq });
  }

  typing(conversationId: string): void {
    this.#socket?.say({ type: "typing", conversation_id: conversationId });
  }

  close(): void {
    this.#finish(null);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
    await this.ended.catch(() => {});
  }

  /** The frames for the program; the others only move the cursor. */
  async *[Symbol.asyncIterator](): AsyncGenerator<RealtimeFrame> {
    try {
      for (;;) {
        const frame = await this.#queue.take();
        if (frame === null) break;
        if (!isOfTheSocket(frame)) yield frame;
        this.#taken = cursorAfter(frame) ?? this.#taken;
      }
    } finally {
      this.#finish(null);
    }
    if (this.#failure !== null) throw this.#failure;
  }

  async #handOut(): Promise<void> {
    const options = this.#options;
    for await (const frame of this) {
      if (isEvent(frame)) await options.onEvent!(frame);
      else if (frame.type === "GAP") await options.onGap?.(frame);
      else if (frame.type === "TYPING") options.onTyping?.(frame);
      else if (frame.type === "PRESENCE") options.onPresence?.(frame);
      else options.onError?.(frame);
    }
  }

  async #keepOpen(): Promise<void> {
    const { session, random } = this.#deps;
    const { signal } = this.#closing;
    let refusals = 0;
    for (let failures = 0; !signal.aborted; ) {
      if (this.#isFull) {
        this.#enter("waiting");
        await this.#queue.emptied();
        this.#isFull = false;
      }
      this.#enter("connecting");
      const startedAt = performance.now();
      const token = await unlessUnreachable(session.token());
      if (signal.aborted) return;
      if (token !== null) {
        const { code, wasOpen } = await this.#runSocket(token);
        if (signal.aborted) return;
        const isStable = wasOpen && performance.now() - startedAt >= stableMs;
        if (isStable) [failures, refusals] = [0, 0];
        const isRefused = code === credentialCode || (!wasOpen && (await this.#isUnauthorized()));
        refusals = isRefused ? refusals + 1 : 0;
        if (refusals > 1) throw new RealtimeEnded("the hub refuses the credential", code);
        if (code === forbiddenCode) throw new RealtimeEnded("the caller may not read events", code);
        if (isRefused && (await unlessUnreachable(session.renew(token))) !== null) continue;
        if (this.#isFull) continue;
      }
      this.#enter("waiting");
      await pause(random() * Math.min(longestWaitMs, firstWaitMs * 2 ** failures), signal);
      failures += 1;
    }
  }

  async #runSocket(token: string): Promise<SocketEnd> {
    const { WebSocket, url } = this.#deps;
    const onFrame = (frame: ServerFrame) => this.#onFrame(frame);
    this.#socket = openRealtimeSocket({ WebSocket, url, token, cursor: this.#received, onFrame });
    try {
      return await this.#socket.ended;
    } finally {
      this.#socket = null;
    }
  }

  #onFrame(frame: ServerFrame): void {
    if (frame.type === "HELLO") this.#enter("open");
    // The cursor of HELLO is for clients without one.
    if (frame.type === "HELLO" && this.#received !== null) return;
    this.#isFull = !this.#queue.put(frame);
    if (this.#isFull) this.#socket?.end();
    else this.#received = cursorAfter(frame) ?? this.#received;
  }

  /** A refused handshake has no reason, a request has. Throws errors after which reconnecting is useless. */
  async #isUnauthorized(): Promise<boolean> {
    try {
      await this.#deps.call("GET", "/v1/events", { query: { limit: 1 }, signal: this.#closing.signal });
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) return true;
      if (error instanceof ApiError && error.status === 403) throw error;
    }
    return false;
  }

  #enter(next: RealtimeState): void {
    if (this.#state === next) return;
    this.#state = next;
    this.#options.onState?.(next);
  }

  #finish(error: unknown): void {
    this.#failure ??= error;
    this.#closing.abort();
    this.#socket?.end();
    this.#queue.close(error === null);
    this.#enter("closed");
  }
}

/** Null when the hub cannot be reached; throws permanent refusals. */
async function unlessUnreachable(asking: Promise<string>): Promise<string | null> {
  try {
    return await asking;
  } catch (error) {
    if (error instanceof ApiError && (error.status === 401 || error.status === 403)) throw error;
    return null;
  }
}

function isOfTheSocket(frame: ServerFrame): frame is HelloFrame | ResumingFrame | ResumedFrame | LiveFrame | PongFrame {
  return ["HELLO", "RESUMING", "RESUMED", "LIVE", "PONG"].includes(frame.type);
}

/** Null for frames outside of the feed. */
function cursorAfter(frame: ServerFrame): string | null {
  const isAside = frame.type === "TYPING" || frame.type === "PRESENCE" || frame.type === "ERROR";
  return isAside ? null : frame.cursor;
}

export class RealtimeEnded extends Error {
  override readonly name = "RealtimeEnded";
  readonly code: number;

  constructor(message: string, code: number) {
    super(`The realtime connection has ended: ${message}.`);
    this.code = code;
  }
}
