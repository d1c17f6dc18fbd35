import type { ServerResponse } from "node:http";
import type { Clock } from "../lib/clock.ts";
import type { Log } from "../lib/postgres.ts";
import type { Admission, Clients } from "./clients.ts";
import { streamOutlet } from "./outlet.ts";

/** How often a quiet stream gets a comment, so that proxies keep it open; in milliseconds. */
const commentEveryMs = 15_000;

/** Server-sent events. Source: the HTML standard, 9.2. */
export function openStreams({ clients, clock, log }: { clients: Clients; clock: Clock; log: Log }) {
  async function stream(admission: Admission, response: ServerResponse, cursor: string | undefined): Promise<void> {
    // A client that disconnected meanwhile is not added: its close event has passed.
    const client = await clients.add(admission, () => {
      return response.destroyed || response.closed ? null : streamOutlet(response);
    });
    if (client === null) return void response.end();
    // A client that disconnects before the first event resumes from here: an id alone is no event, but is kept.
    if (cursor === undefined) response.write(`id: ${client.cursor()}\n\n`);
    let cancelComment = () => {};
    const comment = () => {
      if (response.writableLength === 0) response.write(": here\n\n");
      cancelComment = clock.after(commentEveryMs, comment);
    };
    comment();
    response.on("close", () => {
      cancelComment();
      clients.remove(client);
    });
    await clients.release(client, cursor).catch((error) => {
      log.warn({ err: error }, "a stream could not resume and is closed; its client reconnects");
      clients.disconnect(client, "broken");
    });
  }

  return async (authorization: string, address: string) => {
    const admission = await clients.admit(authorization, address);
    return (response: ServerResponse, cursor: string | undefined) => stream(admission, response, cursor);
  };
}
