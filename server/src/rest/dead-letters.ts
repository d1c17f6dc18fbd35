import { Type } from "typebox";
import { Delivery as deliveryResource } from "../../../contract/src/messages.ts";
import {
  countDeadLetters,
  type DeadLetter,
  deadLetterId,
  discardDeadLetter,
  listDeadLetters,
  type ReplayDeps,
  replayDeadLetter,
  replayDeadLetters,
} from "../deliveries/dead-letters.ts";
import { invalid } from "../errors.ts";
import { decodeCursor, pageOf, pageQuery, toPage } from "../http/pages.ts";
import type { App } from "../http/server.ts";
import { anyAgent } from "../identity/principal.ts";
import { showDelivery } from "../messages/show.ts";
import { bearer, errorAnswers, idParams, nothing, time } from "./identity-schemas.ts";

const channel = Type.Optional(Type.String({ maxLength: 30 }));
const code = Type.Optional(Type.String({ maxLength: 60, description: "The error's code, such as WINDOW_CLOSED." }));
const replayBody = Type.Object(
  {
    channel,
    code,
    all: Type.Optional(Type.Literal(true, { description: "Needed when there is neither a channel nor a code" })),
    dry_run: Type.Optional(Type.Boolean({ description: "Only count what would be replayed" })),
  },
  { additionalProperties: false },
);
const replayed = Type.Integer({ description: "0 in a dry run" });
const replayResult = Type.Object({
  replayed,
  dry_run: Type.Boolean(),
  matching: Type.Array(Type.Object({ channel: Type.String(), code: Type.String(), count: Type.Integer() }), {
    description: "What could be replayed before this call, by channel and error code",
  }),
});

const failedDelivery = Type.Object({
  kind: Type.String({ enum: ["delivery", "message"], description: "`message`: it could not be routed at all" }),
  ...deliveryResource.properties,
  message_id: Type.String(),
  conversation_id: Type.String(),
});
const failedWebhook = Type.Object({
  kind: Type.Literal("webhook", { description: "A platform's webhook that could not be read" }),
  webhook_id: Type.String(),
  channel: Type.String(),
  channel_account_id: Type.String(),
  status: Type.Literal("failed"),
  error: Type.Object({ code: Type.String(), message: Type.String() }),
  received_at: time,
  failed_at: time,
});

/** `/v1/dead-letters`: what failed for good and is not retried by itself. */
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
        description:
          "Deliveries that failed for good, messages that could not be routed and webhooks that could not be read. A " +
          "delivery that a fallback superseded, or whose fallback is still to be tried, is not a dead letter.",
        querystring: Type.Object({ ...pageQuery.properties, channel, code }, { additionalProperties: false }),
        response: { 200: pageOf(Type.Union([failedDelivery, failedWebhook])), ...errorAnswers(400, 401, 403) },
      },
    },
    async ({ principal: { workspaceId }, db, query }) => {
      const { limit = 50, cursor, channel, code } = query;
      const after = decodeCursor(cursor);
      const rows = await listDeadLetters(db, { workspaceId, channel, code, limit: limit + 1, after });
      return toPage(rows, limit, show, (row) => ({ at: row.failed_at, id: deadLetterId(row) }));
    },
  );

  app.post(
    "/v1/dead-letters/:id/replay",
    {
      config: { access: write, idempotent: true, shows: "all" },
      schema: {
        tags,
        security: bearer,
        summary: "Replay a dead letter",
        description:
          "By the id of its delivery or webhook. A delivery goes to the end of its lane, a message behind those of its " +
          "conversation that were routed meanwhile. A second call gets 404.",
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
      config: { access: write, idempotent: true, shows: "all" },
      schema: {
        tags,
        security: bearer,
        summary: "Replay the dead letters of a channel or an error",
        description:
          "Oldest first, 1,000 at the most: call again until `replayed` is 0. Without a channel and a code, `all: true` " +
          "is needed. Use `dry_run: true` first to see what would be sent.",
        body: replayBody,
        response: { 200: replayResult, 202: replayResult, ...errorAnswers(400, 401, 403) },
      },
    },
    async ({ principal, db, body: { all, dry_run = false, ...filter } }, reply) => {
      if (all === undefined && filter.channel === undefined && filter.code === undefined) {
        throw invalid("Give a channel or a code, or all: true to replay every dead letter.");
      }
      const matching = await countDeadLetters(db, { workspaceId: principal.workspaceId, ...filter });
      reply.status(dry_run ? 200 : 202);
      return { dry_run, matching, replayed: dry_run ? 0 : await replayDeadLetters({ ...deps, db }, principal, filter) };
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
        description: "The delivery stays failed, and is no longer listed.",
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

function show(letter: DeadLetter) {
  if (letter.kind !== "webhook") {
    const { kind, message_id, conversation_id } = letter;
    return { kind, ...showDelivery(letter, anyAgent), message_id, conversation_id };
  }
  const { received_at, failed_at } = letter;
  return {
    ...letter,
    status: "failed" as const,
    received_at: received_at.toISOString(),
    failed_at: failed_at.toISOString(),
  };
}
