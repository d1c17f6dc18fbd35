import { setImmediate as othersTurn } from "node:timers/promises";
import { Type } from "typebox";
import type { Capabilities } from "../connectors/connector.ts";
import { RequestError } from "../errors.ts";
import type { Principal } from "../identity/principal.ts";
import { derivedId, msOf } from "../lib/ids.ts";
import type { Accepted, Acceptor } from "../messages/accept.ts";
import {
  checkSend,
  type Draft,
  draftMessage,
  type PrepareDeps,
  prepareMessage,
  resolveDrafts,
  sendBody,
} from "../messages/prepare.ts";
import { readMessage } from "../messages/read-message.ts";
import { messageResource, messageStatus } from "../messages/show.ts";
import { readAuditTrail, readTrace } from "../messages/trace.ts";
import type { NewMessage } from "../messages/write-messages.ts";
import { preflight } from "../router/preflight.ts";
import { windowClosesAt } from "./conversation-schemas.ts";
import { toRequestError } from "./errors.ts";
import { bearer, errorAnswers, idParams, nullable, time } from "./identity-schemas.ts";
import { pageOf, pageQuery } from "./pages.ts";
import type { App } from "./server.ts";
import { compileCheck } from "./validation.ts";

export interface MessageRouteDeps {
  acceptor: Acceptor;
  prepare: PrepareDeps;
  capabilitiesOf: (channel: string) => Capabilities | null;
}

const receipt = Type.Object({
  message_id: Type.String(),
  conversation_id: Type.String(),
  seq: Type.Integer(),
  status: Type.Literal("accepted"),
  created_at: time,
});

const strict = { additionalProperties: false };
const anything = Type.Record(Type.String(), Type.Unknown());

/** Either the receipt, or the error. */
const batchResult = Type.Object({
  ...Type.Partial(receipt).properties,
  message_id: nullable(Type.String()),
  error: Type.Optional(Type.Object({ code: Type.String(), message: Type.String(), details: anything })),
});

const foreseen = Type.Object({
  participant_id: nullable(Type.String()),
  channel: Type.String(),
  address: nullable(Type.String()),
  channel_account_id: nullable(Type.String()),
  can_send: Type.Boolean(),
  reason: nullable(Type.String()),
  window: Type.Object({ state: Type.String({ description: "open, closed or none" }), closes_at: windowClosesAt }),
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
  strict,
);

const traceEntry = Type.Object({ at: time, what: Type.String() }, { additionalProperties: true });

/** Most messages of one `POST /v1/messages/batch`. */
const maxBatch = 1_000;
const draftedAtATime = 50;

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
          "body again give the same answer with the header `idempotent-replayed: true`.",
        body: sendBody,
        response: { 202: receipt, ...errorAnswers(400, 401, 403, 404, 409, 422, 503) },
      },
    },
    async ({ principal, body, workId }, reply) => {
      if (workId !== null) body.message_id ??= workId;
      const message = prepareMessage(prepare, principal, body);
      const [accepted] = await acceptor.accept([message instanceof Promise ? await message : message]);
      if (accepted!.kind === "refused") throw accepted!.error;
      if (accepted!.isReplayed) reply.header("idempotent-replayed", "true");
      reply.status(202);
      return showReceipt(accepted!);
    },
  );

  const checkBatch = compileCheck(
    Type.Object({ messages: Type.Array(Type.Unknown(), { minItems: 1, maxItems: maxBatch }) }, strict),
    "body",
  );
  const checkItem = compileCheck(sendBody, "message");

  /** Says which messages were refused when a repeated request would send others twice. */
  async function acceptPart(part: NewMessage[], mayRepeat: boolean): Promise<Accepted[]> {
    try {
      return await acceptor.accept(part);
    } catch (error) {
      if (mayRepeat) throw error;
      return part.map(({ messageId }) => ({ kind: "refused", messageId, error: toRequestError(error) }));
    }
  }

  function draftItem(principal: Principal, item: unknown, messageId: string | undefined): Draft | RequestError {
    try {
      const body = checkItem(item);
      if (messageId !== undefined) body.message_id ??= messageId;
      return draftMessage(prepare, principal, body);
    } catch (error) {
      return toRequestError(error);
    }
  }

  app.post(
    "/v1/messages/batch",
    {
      config: { access: send, idempotent: true, shows: "all" },
      // Checked below, one by one: a bad item never fails the rest.
      validatorCompiler: () => () => true,
      schema: {
        tags,
        security: bearer,
        summary: "Send up to 1,000 messages",
        description: "Results stand in the order of the request; one that is refused never fails the others.",
        body: Type.Object({ messages: Type.Array(sendBody, { minItems: 1, maxItems: maxBatch }) }, strict),
        response: { 200: Type.Object({ results: Type.Array(batchResult) }), ...errorAnswers(400, 401, 403, 503) },
      },
    },
    async ({ principal, body, workId }) => {
      const items = checkBatch(body).messages;
      const drafted: (Draft | RequestError)[] = [];
      for (const [place, item] of items.entries()) {
        const messageId = workId === null ? undefined : derivedId(msOf(workId), workId, String(place));
        drafted.push(draftItem(principal, item, messageId));
        // A thousand at a time would hold up other requests.
        if (drafted.length % draftedAtATime === 0) await othersTurn();
      }
      const resolved = (await resolveDrafts(prepare, principal, drafted.filter(isGood))).values();
      const prepared = drafted.map((one) => (isGood(one) ? resolved.next().value! : one));
      const accepted: Accepted[] = [];
      for (const part of inParts(prepared.filter(isGood)))
        accepted.push(...(await acceptPart(part, workId !== null || accepted.length === 0)));
      const answers = accepted.values();
      const results = prepared.map((one, place) =>
        isGood(one) ? showResult(answers.next().value!) : showRefused(items[place], one),
      );
      return { results };
    },
  );

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

function isGood<Good extends object>(one: Good | RequestError): one is Good {
  return !(one instanceof RequestError);
}

/** Most JSON written to the database in one statement, in characters: encoding it as parameters takes milliseconds. */
const maxPartLength = 256 * 1024;

function inParts(messages: NewMessage[]): NewMessage[][] {
  const parts: NewMessage[][] = [];
  let length = Number.POSITIVE_INFINITY;
  for (const message of messages) {
    const added = message.payload.length + (message.metadata?.length ?? 0);
    length += added;
    if (length <= maxPartLength) parts.at(-1)!.push(message);
    else {
      parts.push([message]);
      length = added;
    }
  }
  return parts;
}

function showReceipt({ messageId, conversationId, seq, createdAt }: Accepted & { kind: "accepted" }) {
  return {
    message_id: messageId,
    conversation_id: conversationId,
    seq,
    status: "accepted" as const,
    created_at: createdAt.toISOString(),
  };
}

function showResult(accepted: Accepted) {
  return accepted.kind === "accepted"
    ? showReceipt(accepted)
    : showRefused({ message_id: accepted.messageId }, accepted.error);
}

function showRefused(item: unknown, { code, message, details = {} }: RequestError) {
  const given = (item as { message_id?: unknown } | null)?.message_id;
  return { message_id: typeof given === "string" ? given : null, error: { code, message, details } };
}
