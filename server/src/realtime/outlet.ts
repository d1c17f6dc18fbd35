import type { ServerResponse } from "node:http";
import type { Duplex, Writable } from "node:stream";
import type { WebSocket } from "ws";
import { type Frame, pingBytes } from "./frames.ts";

/** A socket, or a stream over HTTP. No method throws, also after the end. */
export interface Outlet {
  /** `onSent` is called once the bytes have left this process, and never when they could not. */
  write(frame: Frame, onSent?: () => void): void;
  cork(): void;
  uncork(): void;
  bufferedBytes(): number;
  /** Resolves when less than `lowWaterBytes` is buffered, or the client has disconnected. */
  drained(): Promise<void>;
  close(reason: CloseReason): void;
}

/** A client with more than this unread, in bytes, is disconnected. */
export const maxBufferedBytes = 1024 * 1024;
/** Below this, in bytes, a client reads fast enough to be sent more of the past. */
export const lowWaterBytes = 128 * 1024;
/** A connection that has not closed after this time is cut, in milliseconds. */
export const closeTimeoutMs = 3_000;

/** Why the hub closes a socket or a stream, and the close code: 4000 plus the HTTP status. */
const closeReasons = {
  credential: { code: 4401, reason: "the credential is not valid any more" },
  forbidden: { code: 4403, reason: "not allowed to read events" },
  slow: { code: 4408, reason: "too slow: more was waiting than is kept" },
  silent: { code: 4410, reason: "no sign of life" },
  flood: { code: 4429, reason: "too many frames" },
  /** The user or the IP address has too many sockets: close one first. For web pages, which cannot read a 429. */
  crowded: { code: 4429, reason: "too many sockets of this user or IP address" },
  broken: { code: 1011, reason: "events could not be read" },
  /** Of a socket that shows one task. */
  ended: { code: 1000, reason: "the task has ended" },
  stopping: { code: 1001, reason: "the hub is stopping" },
} as const satisfies Record<string, { code: number; reason: string }>;

export type CloseReason = keyof typeof closeReasons;

/** Writes past `ws`, straight to the connection: without compression and fragments `ws` leaves nothing half written. */
export function socketOutlet(socket: WebSocket, stream: Duplex): Outlet & { ping(): void } {
  /** What the last write returned. While all clients are quick, no buffer's length is computed. */
  let hasRoom = true;
  return {
    write(frame, onSent) {
      if (socket.readyState !== socket.OPEN) return;
      if (onSent === undefined) hasRoom = stream.write(frame.bytes);
      else hasRoom = stream.write(frame.bytes, (error) => void (error ?? onSent()));
    },
    ping() {
      if (socket.readyState === socket.OPEN) stream.write(pingBytes);
    },
    cork: () => stream.cork(),
    uncork: () => stream.uncork(),
    bufferedBytes: () => (hasRoom ? 0 : stream.writableLength),
    drained: () => drained(stream),
    close(why) {
      const { code, reason } = closeReasons[why];
      socket.close(code, reason);
      const timer = setTimeout(() => socket.terminate(), closeTimeoutMs);
      timer.unref();
      socket.once("close", () => clearTimeout(timer));
    },
  };
}

/** Frames have no line break, so each is one line of data. A stream cannot say why it ends; the next request says it. */
export function streamOutlet(response: ServerResponse): Outlet {
  return {
    write({ cursor, text }, onSent) {
      response.write(`id: ${cursor}\ndata: ${text}\n\n`, (error) => void (error ?? onSent?.()));
    },
    cork: () => response.cork(),
    uncork: () => response.uncork(),
    bufferedBytes: () => response.writableLength,
    drained: () => drained(response),
    close() {
      response.end();
      const timer = setTimeout(() => response.destroy(), closeTimeoutMs);
      timer.unref();
      response.once("close", () => clearTimeout(timer));
    },
  };
}

function drained(stream: Writable): Promise<void> {
  if (stream.writableLength <= lowWaterBytes || stream.destroyed) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => {
      stream.off("drain", done).off("close", done);
      resolve();
    };
    stream.on("drain", done).on("close", done);
  });
}
