import { Type } from "typebox";
import {
  type DeadLetterRow,
  discardDeadLetter,
  listDeadLetters,
  type ReplayDeps,
  replayDeadLetter,
  replayDeadLetters,
} from "../deliveries/dead-letters.ts";
import { anyAgent } from "../identity/principal.ts";
import { deliveryResource, showDelivery } from "../messages/show.ts";
import { bearer, errorAnswers, idParams, nothing } from "./identity-schemas.ts";
import { decodeCursor, pageOf, pageQuery, toPage } from "./pages.ts";
import type { App } from "./server.ts";

const channel = Type.Optional(Type.String({ maxLength: 30 }));
const code = Type.Optional(Type.String({ maxLength: 60, description: "The error's code, such as WINDOW_CLOSED." }));
const filter = Type.Object({ channel, code }, { additionalProperties: false });

const deadLetter = Type.Object({
  ...deliveryResource.properties,
  message_id: Type.String(),
  conversation_id: Type.String(),
});

/** `/v1/dead-letters`: deliveries that will not be tried again by themselves. */
export function deadLetterRoutes(app: App, deps: Omit<ReplayDeps, "db">): void {
  const tags = ["Dead letters"];
  const read = { role: "agent", scope: "messages:read" } as const;
  const write = { role: "agent", scope: "messages:write" } as const;

  app.get(
    "/v1/dead-letters",
    {
      config: { access: read },
      schema: {
        tags,
        security: bearer,
        summary: "List dead letters, newest first",
        querystring: Type.Object({ ...pageQuery.properties, channel, code }, { additionalProperties: false }),
        response: { 200: pageOf(deadLetter), ...errorAnswers(400, 401, 403) },
      },
    },
    async ({ principal: { workspaceId }, db, query }) => {
      const { limit = 50, cursor, channel, code } = query;
      const after = decodeCursor(cursor);
      const rows = await listDeadLetters(db, { workspaceId, channel, code, limit: limit + 1, after });
      return toPage(rows, limit, show, (row) => ({ at: row.failed_at, id: row.delivery_id }));
    },
  );

  app.post(
    "/v1/dead-letters/:id/replay",
    {
      config: { access: write, idempotent: true },
      schema: {
        tags,
        security: bearer,
        summary: "Send a dead letter again",
        description: "It goes to the end of its lane. A second call finds it alive and gets 404.",
        params: idParams,
        response: { 202: Type.Object({ replayed: Type.Integer() }), ...errorAnswers(400, 401, 403, 404, 409) },
      },
    },
    async ({ principal, db, params }, reply) => {
      await replayDeadLetter({ ...deps, db }, principal, params.id);
      reply.status(202);
      return { replayed: 1 };
    },
  );

  app.post(
    "/v1/dead-letters/replay",
    {
      config: { access: write, idempotent: true },
      schema: {
        tags,
        security: bearer,
        summary: "Send the dead letters of a channel or an error again",
        description: "Oldest first, 1,000 at the most: call again until `replayed` is 0.",
        body: filter,
        response: { 202: Type.Object({ replayed: Type.Integer() }), ...errorAnswers(400, 401, 403) },
      },
    },
    async ({ principal, db, body }, reply) => {
      reply.status(202);
      return { replayed: await replayDeadLetters({ ...deps, db }, principal, body) };
    },
  );

  app.delete(
    "/v1/dead-letters/:id",
    {
      config: { access: write },
      schema: {
        tags,
        security: bearer,
        summary: "Discard a dead letter",
        description: "Its delivery stays failed.",
        params: idParams,
        response: { 204: nothing, ...errorAnswers(400, 401, 403, 404) },
      },
    },
    async ({ principal, db, params }, reply) => {
      await discardDeadLetter(db, principal, params.id);
      reply.status(204);
      return null;
    },
  );
}

function show(row: DeadLetterRow) {
  return { ...showDelivery(row, anyAgent), message_id: row.message_id, conversation_id: row.conversation_id };
}
