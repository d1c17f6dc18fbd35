import { events } from "../../../contract/src/events.ts";
import { invalid } from "../errors.ts";
import { parseCursor } from "../events/events.ts";
import type { App } from "../http/app.ts";
import { clientAddress } from "../http/client-address.ts";
import { varyBy } from "../http/cors.ts";
import { route } from "../http/route.ts";
import { readEvents } from "../realtime/read-events.ts";
import { type Streams, servesNoReaders } from "../realtime/streams.ts";

/** `GET /v1/events`: the feed that sockets are told, read page by page or as a stream of server-sent events. */
export function eventRoutes(
  app: App,
  { streams }: { /** Null in a process without the role realtime. */ streams: Streams | null },
): void {
  plainSocketRoute(app, streams);
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
      if (streams === null) throw servesNoReaders();
      const from = headers["last-event-id"] ?? query.after;
      if (from !== undefined) parseCursor(from, headers["last-event-id"] === undefined ? "after" : "last-event-id");
      const authorization = headers.authorization!;
      const admission = await streams.admit(authorization, clientAddress(request));
      reply.hijack();
      reply.raw.writeHead(200, { ...reply.getHeaders(), ...streamHeaders } as Record<string, string>);
      await streams.open(admission, reply.raw, from);
      return reply as never;
    },
    // A HEAD without a body would be held open, and what it was sent would count as read. The schema is for the document
    // only: frames are written as for sockets.
    { exposeHeadRoute: false, serializerCompiler: () => JSON.stringify },
  );
}

/** `GET /ws` without an upgrade. */
function plainSocketRoute(app: App, streams: Streams | null): void {
  const hidden = { config: { access: "public" }, exposeHeadRoute: false } as const;
  app.get("/ws", hidden, async () => {
    if (streams === null) throw servesNoReaders();
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
