import type { Duplex } from "node:stream";
import type { WebSocket } from "ws";
import { type Closing, closings } from "./closing.ts";
import { pingBytes } from "./frames.ts";
import { lowWaterBytes, type Outlet } from "./subscriber.ts";

/** How long an ending may take, in milliseconds: what a reader does not read by then is cut off. */
export const closeTimeoutMs = 3_000;

/**
 * Writes frames that were made once for everybody straight to the connection, behind what `ws` wrote: without
 * compression and fragments nothing of `ws` is ever half written.
 */
export function socketOutlet(socket: WebSocket, stream: Duplex): Outlet & { ping(): void } {
  /** What the last write said. Where all readers are quick, the length of none is looked up. */
  let hasRoom = true;
  return {
    write(frame, onTaken) {
      if (socket.readyState !== socket.OPEN) return;
      if (onTaken === undefined) hasRoom = stream.write(frame.bytes);
      else hasRoom = stream.write(frame.bytes, (error) => void (error ?? onTaken()));
    },
    ping() {
      if (socket.readyState === socket.OPEN) stream.write(pingBytes);
    },
    cork: () => stream.cork(),
    uncork: () => stream.uncork(),
    bufferedBytes: () => (hasRoom ? 0 : stream.writableLength),
    drained: () => drained(stream),
    close(closing: Closing) {
      const { code, reason } = closings[closing];
      socket.close(code, reason);
      const timer = setTimeout(() => socket.terminate(), closeTimeoutMs);
      timer.unref();
      socket.once("close", () => clearTimeout(timer));
    },
  };
}

/** Resolves when little is buffered any more, or the stream has ended. */
export function drained(stream: Duplex | NodeJS.WritableStream): Promise<void> {
  const writable = stream as Duplex;
  if (writable.writableLength <= lowWaterBytes || writable.destroyed) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => {
      writable.off("drain", done).off("close", done);
      resolve();
    };
    writable.on("drain", done).on("close", done);
  });
}
