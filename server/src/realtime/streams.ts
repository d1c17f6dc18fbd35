import type { ServerResponse } from "node:http";
import type { Clock } from "../lib/clock.ts";
import type { Log } from "../lib/postgres.ts";
import type { Admission, Reader, Readers } from "./readers.ts";
import { closeTimeoutMs, drained } from "./socket-outlet.ts";
import type { Outlet } from "./subscriber.ts";

/** A comment now and then keeps proxies from closing a quiet stream, in milliseconds. */
const commentEveryMs = 15_000;

/** Server-sent events. Source: the HTML standard, 9.2. */
export function openStreams({ readers, clock, log }: { readers: Readers; clock: Clock; log: Log }) {
  async function open(admission: Admission, response: ServerResponse, cursor: string | undefined): Promise<void> {
    // Who left while the feed was being opened is no reader: nobody would hear that it left.
    const reader = await readers.add(admission, () => {
      return response.destroyed || response.closed ? null : streamOutlet(response);
    });
    if (reader === null) return void response.end();
    // Whoever is cut off before the first event goes on from here: an id alone is no event, and is kept by the client.
    if (cursor === undefined) response.write(`id: ${reader.subscriber.cursor}\n\n`);
    let cancelComment = () => {};
    const comment = () => {
      if (response.writableLength === 0) response.write(": here\n\n");
      cancelComment = clock.after(commentEveryMs, comment);
    };
    comment();
    response.on("close", () => {
      cancelComment();
      readers.remove(reader);
    });
    await release(reader, cursor);
  }

  async function release(reader: Reader, cursor: string | undefined): Promise<void> {
    try {
      await readers.release(reader, cursor);
    } catch (error) {
      log.warn({ err: error }, "a stream could not be brought up to date and is ended: the client comes back");
      readers.drop(reader, "broken");
    }
  }

  /**
   * Throws what a request would get, before anything is written. The returned function streams events on an answer whose
   * headers were sent, from right after `cursor`, or from now, until the client disconnects or may not read any more.
   */
  return async (authorization: string, address: string) => {
    const admission = await readers.admit(authorization, address);
    return (response: ServerResponse, cursor: string | undefined) => open(admission, response, cursor);
  };
}

/** Frames carry no newline, so each is one line of data. A stream cannot say why it ends: the next request is told. */
function streamOutlet(response: ServerResponse): Outlet {
  return {
    write({ cursor, text }, onTaken) {
      response.write(`id: ${cursor}\ndata: ${text}\n\n`, (error) => void (error ?? onTaken?.()));
    },
    cork: () => response.cork(),
    uncork: () => response.uncork(),
    bufferedBytes: () => response.writableLength,
    drained: () => drained(response),
    close() {
      response.end();
      // What a reader does not read is cut off.
      const timer = setTimeout(() => response.destroy(), closeTimeoutMs);
      timer.unref();
      response.once("close", () => clearTimeout(timer));
    },
  };
}
