import { Type } from "typebox";
import { invalid } from "../errors.ts";
import { cursorPattern, feedScopes, parseCursor } from "../events/events.ts";
import { clientAddress } from "../http/client-address.ts";
import { varyBy } from "../http/cors.ts";
import type { App } from "../http/server.ts";
import { maxEvents, readEvents } from "../realtime/read-events.ts";
import { type Streams, servesNoReaders } from "../realtime/streams.ts";
import { feedFrame } from "./event-schemas.ts";
import { bearer, errorAnswers } from "./identity-schemas.ts";

const cursor = Type.Optional(
  Type.String({ maxLength: 40, pattern: cursorPattern, description: "The cursor of the last event that you have" }),
);

/** `GET /v1/events`: the feed that sockets are told, read page by page or as a stream of server-sent events. */
export function eventRoutes(
  app: App,
  { streams }: { /** Null in a process without the role realtime. */ streams: Streams | null },
): void {
  plainSocketRoute(app, streams);
  app.get(
    "/v1/events",
    {
      config: { access: { role: "member", scope: feedScopes }, admission: "streams" },
      // A stream without a body would be held open, and what it is told count as taken.
      exposeHeadRoute: false,
      // The schema is for the document only: frames are written as for sockets.
      serializerCompiler: () => JSON.stringify,
      schema: {
        tags: ["Realtime"],
        security: bearer,
        summary: "Read events, or stream them",
        description:
          "An API key needs the scopes events:read, messages:read and conversations:read. Oldest first, the same events in the same order as on /ws, of the conversations that you may see. Without `after` " +
          "a page begins with the oldest event that is kept. Ask again with `after` = `next_cursor`: a page may hold fewer events than " +
          "`limit`, because it ends at about 1 MiB, and only an empty page means that nothing more has happened. A GAP says that events after your cursor are no longer there: read the state again. " +
          "With `accept: text/event-stream` the answer is a stream that begins after `last-event-id`, or `after`, or now.",
        headers: Type.Object({ "last-event-id": cursor }),
        querystring: Type.Object(
          { after: cursor, limit: Type.Optional(Type.Integer({ minimum: 1, maximum: maxEvents, default: 50 })) },
          { additionalProperties: false },
        ),
        response: {
          200: Type.Object({ data: Type.Array(feedFrame), next_cursor: Type.String() }),
          ...errorAnswers(400, 401, 403, 421, 429, 503),
        },
      },
    },
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
      return reply;
    },
  );
}

/** `GET /ws` that is no upgrade: upgrades do not come here. */
function plainSocketRoute(app: App, streams: Streams | null): void {
  const hidden = { config: { access: "public" }, schema: { hide: true }, exposeHeadRoute: false } as const;
  app.get("/ws", hidden, async () => {
    if (streams === null) throw servesNoReaders();
    throw invalid(
      "This request is no upgrade to a WebSocket. A proxy in front must forward the headers upgrade and connection.",
    );
  });
}

/** A proxy in front must pass each event on at once. */
const streamHeaders = {
  "content-type": "text/event-stream; charset=utf-8",
  "cache-control": "no-store",
  "x-accel-buffering": "no",
};
