import { Type } from "typebox";
import { messagingWindow } from "../../../contract/src/conversations.ts";
import type { Capabilities } from "../connectors/connector.ts";
import { pageOf, pageQuery } from "../http/pages.ts";
import type { App } from "../http/server.ts";
import { checkSend, prepareMessage, sendBody } from "../messages/prepare.ts";
import { readMessage } from "../messages/read-message.ts";
import { messageResource, messageStatus } from "../messages/show.ts";
import { readAuditTrail, readTrace } from "../messages/trace.ts";
import { preflight } from "../router/preflight.ts";
import { acceptedMessage, showAccepted } from "./accepted-message.ts";
import { type BatchDeps, batchRoutes } from "./batches.ts";
import { bearer, errorAnswers, idParams, nullable, time } from "./identity-schemas.ts";

export interface MessageRouteDeps extends BatchDeps {
  capabilitiesOf: (channel: string) => Capabilities | null;
}

const foreseen = Type.Object({
  participant_id: nullable(Type.String()),
  channel: Type.String(),
  address: nullable(Type.String()),
  channel_account_id: nullable(Type.String()),
  can_send: Type.Boolean(),
  reason: nullable(Type.String()),
  window: messagingWindow,
  needs: nullable(Type.Literal("template")),
  adaptations: Type.Array(Type.String()),
});

/** Without the address and the time of the last message. */
const preflightOutcome = ["channel", "can_send", "reason", "window.state", "needs", "adaptations"].map(
  (name) => `recipients.${name}`,
);

const auditEntry = Type.Object({
  at: time,
  status: messageStatus,
  delivery_id: nullable(Type.String()),
  channel: nullable(Type.String()),
  cause: Type.String(),
});

/** For most messages the first page is the whole list. */
const maxEntries = 200;
const entryQuery = Type.Object(
  { ...pageQuery.properties, limit: Type.Optional({ ...pageQuery.properties.limit, default: maxEntries }) },
  { additionalProperties: false },
);

const traceEntry = Type.Object({ at: time, what: Type.String() }, { additionalProperties: true });

/** `/v1/messages`: saying something, and learning what became of it. */
export function messageRoutes(app: App, deps: MessageRouteDeps): void {
  const { acceptor, prepare, capabilitiesOf } = deps;
  const tags = ["Messages"];
  const send = { role: "member", scope: "messages:write" } as const;
  const read = { role: "member", scope: "messages:read" } as const;

  app.post(
    "/v1/messages",
    {
      config: { access: send, idempotent: true, shows: "all" },
      schema: {
        tags,
        security: bearer,
        summary: "Send a message",
        description:
          "202 means that it is on durable storage. `message_id` is an idempotency key that never expires: the same id and " +
          "body again give the same answer with the header `idempotent-replayed: true`, even if `to` now leads to another " +
          "conversation.",
        body: sendBody,
        response: { 202: acceptedMessage, ...errorAnswers(400, 401, 403, 404, 409, 422, 503) },
      },
    },
    async ({ principal, body, workId }, reply) => {
      if (workId !== null) body.message_id ??= workId;
      const message = prepareMessage(prepare, principal, body);
      const [accepted] = await acceptor.accept([message instanceof Promise ? await message : message]);
      if (accepted!.kind === "refused") throw accepted!.error;
      if (accepted!.isReplayed) reply.header("idempotent-replayed", "true");
      reply.status(202);
      return showAccepted(accepted!);
    },
  );

  batchRoutes(app, deps);

  app.post(
    "/v1/messages/preflight",
    {
      config: { access: send, shows: preflightOutcome },
      schema: {
        tags,
        security: bearer,
        summary: "Ask what a send would do, without doing it",
        body: sendBody,
        response: { 200: Type.Object({ recipients: Type.Array(foreseen) }), ...errorAnswers(400, 401, 403, 404) },
      },
    },
    async ({ principal, db, body }) => {
      const senderId = checkSend(prepare, principal, body);
      const to = body.to === undefined ? null : prepare.parseAddress(body.to, "to");
      const deps = { db, nowMs: prepare.clock.now(), capabilitiesOf };
      return { recipients: await preflight(deps, principal, body, senderId, to) };
    },
  );

  app.get(
    "/v1/messages/:id",
    {
      config: { access: read },
      schema: {
        tags,
        security: bearer,
        summary: "Read a message and its deliveries",
        params: idParams,
        response: { 200: messageResource, ...errorAnswers(400, 401, 403, 404) },
      },
    },
    ({ principal, db, params }) => readMessage(db, principal, params.id),
  );

  app.get(
    "/v1/messages/:id/events",
    {
      config: { access: read },
      schema: {
        tags,
        security: bearer,
        summary: "Read the audit trail of a message",
        description: "Each change of status with its time, delivery and cause, oldest first.",
        params: idParams,
        querystring: entryQuery,
        response: { 200: pageOf(auditEntry), ...errorAnswers(400, 401, 403, 404) },
      },
    },
    ({ principal, db, params, query: { limit = maxEntries, cursor } }) =>
      readAuditTrail(db, principal, params.id, { limit, cursor }),
  );

  app.get(
    "/v1/messages/:id/trace",
    {
      config: { access: { role: "agent", scope: "messages:read" } },
      schema: {
        tags,
        security: bearer,
        summary: "Read everything that happened to a message",
        description: "Oldest first: accepted, routed and why so, each attempt redacted, each webhook that touched it.",
        params: idParams,
        querystring: entryQuery,
        response: { 200: pageOf(traceEntry), ...errorAnswers(400, 401, 403, 404) },
      },
    },
    ({ principal, db, params, query: { limit = maxEntries, cursor } }) =>
      readTrace(db, principal, params.id, { limit, cursor }),
  );
}
