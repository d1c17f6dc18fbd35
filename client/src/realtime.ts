import type { GapFrame } from "../../contract/openapi.ts";
import { ApiError, type Call } from "./call.ts";
import { openFrameQueue } from "./frame-queue.ts";
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
import { openRealtimeSocket, type RealtimeSocket } from "./realtime-socket.ts";
import type { Session } from "./session.ts";

export interface RealtimeOptions {
  /** Go on right after this event; left out: from now on. */
  cursor?: string;
  /**
   * One after the other: the next waits for the promise. A handler that throws ends the connection with what it threw.
   */
  onEvent?(event: EventFrame): void | Promise<void>;
  /** Events are missing: read what you show anew. */
  onGap?(gap: GapFrame): void | Promise<void>;
  onTyping?(typing: TypingFrame): void;
  onPresence?(presence: PresenceFrame): void;
  /** What was said here was refused. */
  onError?(error: ErrorFrame): void;
  onState?(state: RealtimeState): void;
  /**
   * Frames that wait for the program, at the most (default 1,000). Beyond it the socket rests, and goes on from there.
   */
  queueSize?: number;
}

/** `waiting`: for the next try, or for the program to take what has come. */
export type RealtimeState = "connecting" | "open" | "waiting" | "closed";

/**
 * A connection that comes back by itself and goes on where it was: every event once and in order, or a gap that says
 * otherwise. Without `onEvent`, iterate over it: `for await (const frame of connection)`.
 */
export interface RealtimeConnection extends AsyncIterable<RealtimeFrame>, AsyncDisposable {
  /** Of the last frame that the program has taken: keep it, and go on from there after a restart. Null before HELLO. */
  readonly cursor: string | null;
  readonly state: RealtimeState;
  /** The caller has read everything up to here. Lost while there is no socket. */
  read(conversationId: string, seq: number): void;
  typing(conversationId: string): void;
  close(): void;
  /** Resolves after `close`; rejects when coming back is of no use: the credential or the permission is gone. */
  readonly ended: Promise<void>;
}

export interface RealtimeDeps {
  url: string;
  session: Session;
  call: Call;
  WebSocket: typeof WebSocket;
  random: () => number;
}

/** The hub no longer takes the credential. */
const credentialCode = 4401;
const forbiddenCode = 4403;
/** The longest wait before the first try after a socket that was open, doubled with each that fails; milliseconds. */
const firstWaitMs = 500;
const longestWaitMs = 30_000;
/** A socket that lasted so long counts as a success. */
const stableMs = 10_000;
const defaultQueueSize = 1_000;

export function openRealtime(deps: RealtimeDeps, options: RealtimeOptions): RealtimeConnection {
  const { url, session, call, WebSocket, random } = deps;
  const queue = openFrameQueue<ServerFrame>(options.queueSize ?? defaultQueueSize);
  const closing = new AbortController();
  let state: RealtimeState = "connecting";
  /** Where to go on from: after what came, and after what the program took. */
  let received = options.cursor ?? null;
  let taken = received;
  let socket: RealtimeSocket | null = null;
  let isFull = false;
  let failure: unknown = null;

  function enter(next: RealtimeState): void {
    if (state === next) return;
    state = next;
    options.onState?.(next);
  }

  function onFrame(frame: ServerFrame): void {
    if (frame.type === "HELLO") enter("open");
    // A cursor that was given stands: HELLO says where the others are.
    if (frame.type === "HELLO" && received !== null) return;
    isFull = !queue.put(frame);
    if (isFull) socket?.end();
    else received = cursorAfter(frame) ?? received;
  }

  async function keepOpen(): Promise<void> {
    let refusals = 0;
    for (let failures = 0; !closing.signal.aborted; ) {
      if (isFull) {
        enter("waiting");
        await queue.emptied();
        isFull = false;
      }
      enter("connecting");
      const startedAt = performance.now();
      const token = await within(session.token());
      if (closing.signal.aborted) return;
      if (token !== null) {
        socket = openRealtimeSocket({ WebSocket, url, token, cursor: received, onFrame });
        const { code, wasOpen } = await socket.ended;
        socket = null;
        if (closing.signal.aborted) return;
        const isStable = wasOpen && performance.now() - startedAt >= stableMs;
        if (isStable) [failures, refusals] = [0, 0];
        const isRefused = code === credentialCode || (!wasOpen && (await isUnauthorized()));
        refusals = isRefused ? refusals + 1 : 0;
        if (refusals > 1) throw new RealtimeEnded("the hub does not take the credential", code);
        if (code === forbiddenCode) throw new RealtimeEnded("the caller may not read events", code);
        if (isRefused && (await within(session.renew(token))) !== null) continue;
        if (isFull) continue;
      }
      enter("waiting");
      await pause(random() * Math.min(longestWaitMs, firstWaitMs * 2 ** failures), closing.signal);
      failures += 1;
    }
  }

  /** A refused handshake does not say why: a request does. Throws what makes coming back useless. */
  async function isUnauthorized(): Promise<boolean> {
    try {
      await call("GET", "/v1/events", { query: { limit: 1 }, signal: closing.signal });
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) return true;
      if (error instanceof ApiError && error.status === 403) throw error;
    }
    return false;
  }

  /** Null when the hub cannot be asked right now; throws what it refuses for good. */
  async function within(asking: Promise<string>): Promise<string | null> {
    try {
      return await asking;
    } catch (error) {
      if (error instanceof ApiError && (error.status === 401 || error.status === 403)) throw error;
      return null;
    }
  }

  function finish(error: unknown): void {
    failure ??= error;
    closing.abort();
    socket?.end();
    queue.close(error === null);
    enter("closed");
  }

  /** What the program is told; the rest only moves the cursor. */
  async function* frames(): AsyncGenerator<RealtimeFrame> {
    try {
      for (;;) {
        const frame = await queue.take();
        if (frame === null) break;
        if (!isOfTheSocket(frame)) yield frame;
        taken = cursorAfter(frame) ?? taken;
      }
    } finally {
      finish(null);
    }
    if (failure !== null) throw failure;
  }

  async function handOut(): Promise<void> {
    for await (const frame of frames()) {
      if (isEvent(frame)) await options.onEvent!(frame);
      else if (frame.type === "GAP") await options.onGap?.(frame);
      else if (frame.type === "TYPING") options.onTyping?.(frame);
      else if (frame.type === "PRESENCE") options.onPresence?.(frame);
      else options.onError?.(frame);
    }
  }

  options.onState?.(state);
  const handing = options.onEvent === undefined ? Promise.resolve() : handOut().catch(finish);
  const ended = keepOpen()
    .then(() => finish(null), finish)
    .then(() => handing)
    .then(() => {
      if (failure !== null) throw failure;
    });
  // Who iterates is told there; nobody must listen here.
  ended.catch(() => {});
  return {
    get cursor() {
      return taken;
    },
    get state() {
      return state;
    },
    read: (conversationId, seq) => socket?.say({ type: "read", conversation_id: conversationId, seq }),
    typing: (conversationId) => socket?.say({ type: "typing", conversation_id: conversationId }),
    close: () => finish(null),
    ended,
    [Symbol.asyncIterator]: frames,
    async [Symbol.asyncDispose]() {
      finish(null);
      await ended.catch(() => {});
    },
  };
}

/** Frames that only the connection itself needs. */
function isOfTheSocket(frame: ServerFrame): frame is HelloFrame | ResumingFrame | ResumedFrame | LiveFrame | PongFrame {
  return ["HELLO", "RESUMING", "RESUMED", "LIVE", "PONG"].includes(frame.type);
}

/** Null for what says nothing of how far the feed was read. */
function cursorAfter(frame: ServerFrame): string | null {
  const isAside = frame.type === "TYPING" || frame.type === "PRESENCE" || frame.type === "ERROR";
  return isAside ? null : frame.cursor;
}

/** The hub ended the connection for good. */
export class RealtimeEnded extends Error {
  override readonly name = "RealtimeEnded";
  /** The close code of the socket. */
  readonly code: number;

  constructor(message: string, code: number) {
    super(`The realtime connection has ended: ${message}.`);
    this.code = code;
  }
}
