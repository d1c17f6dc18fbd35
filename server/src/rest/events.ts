import type { ServerResponse } from "node:http";
import { events } from "../../../contract/src/events.ts";
import { invalid, withoutRealtime } from "../errors.ts";
import { parseCursor, readEvents } from "../events/events.ts";
import type { App } from "../http/app.ts";
import { clientAddress } from "../http/client-address.ts";
import { varyBy } from "../http/cors.ts";
import { route } from "../http/route.ts";

/**
 * Admits a client to a stream, or throws the request's error. The returned function writes events to a response whose
 * headers were sent, from right after `cursor`, or from now, until the client disconnects or may not read any more.
 */
export type AdmitStream = (
  authorization: string,
  address: string,
) => Promise<(response: ServerResponse, cursor: string | undefined) => Promise<void>>;

/** `GET /v1/events`: the events of the sockets, as pages or as a stream of server-sent events. */
export function eventRoutes(
  app: App,
  { admitStream }: { /** Null in a process without the role realtime. */ admitStream: AdmitStream | null },
): void {
  plainSocketRoute(app, admitStream !== null);
  route(
    app,
    events.listEvents,
    async (request, reply) => {
      const { principal, db, query, headers } = request;
      varyBy(reply, "Accept");
      if (!headers.accept?.includes("text/event-stream")) {
        const after = query.after === undefined ? null : parseCursor(query.after, "after");
        return readEvents(db, principal, after, query.limit ?? 50);
      }
      if (admitStream === null) throw withoutRealtime();
      const from = headers["last-event-id"] ?? query.after;
      if (from !== undefined) parseCursor(from, headers["last-event-id"] === undefined ? "after" : "last-event-id");
      const stream = await admitStream(headers.authorization!, clientAddress(request));
      reply.hijack();
      reply.raw.writeHead(200, { ...reply.getHeaders(), ...streamHeaders } as Record<string, string>);
      await stream(reply.raw, from);
      return reply as never;
    },
    // A HEAD without a body would stay open, and the events sent to it would count as read. The schema is for the document
    // only: frames are serialised as for sockets.
    { exposeHeadRoute: false, serializerCompiler: () => JSON.stringify },
  );
}

/** `GET /ws` without an upgrade; upgrades do not reach the routes. */
function plainSocketRoute(app: App, hasRealtime: boolean): void {
  const hidden = { config: { access: "public" }, exposeHeadRoute: false } as const;
  app.get("/ws", hidden, async () => {
    if (!hasRealtime) throw withoutRealtime();
    throw invalid(
      "This request is not a WebSocket upgrade. A proxy in front must forward the headers upgrade and connection.",
    );
  });
}

/** A proxy must forward each event at once. */
const streamHeaders = {
  "content-type": "text/event-stream; charset=utf-8",
  "cache-control": "no-store",
  "x-accel-buffering": "no",
};
