import { Type } from "typebox";
import { invalid } from "../errors.ts";
import { optionalBody } from "../http/json-body.ts";
import { decodeCursor, pageOf, pageQuery, toPage } from "../http/pages.ts";
import type { App } from "../http/server.ts";
import {
  changeEndpoint,
  createEndpoint,
  type EndpointDeps,
  findEndpoint,
  listAttempts,
  listEndpoints,
  maxEndpoints,
  removeEndpoint,
  replayAttempt,
  replayRange,
  rotateSecret,
  type Tester,
} from "../webhook-endpoints/webhook-endpoints.ts";
import { bearer, errorAnswers, idParams, nothing, uuid } from "./identity-schemas.ts";
import {
  attemptResource,
  endpointPatch,
  endpointResource,
  endpointWithSecret,
  newEndpointBody,
  replayBody,
  replayResource,
  rotationBody,
  showAttempt,
  showEndpoint,
} from "./webhook-endpoint-schemas.ts";

export interface WebhookEndpointRoutesDeps extends EndpointDeps {
  tester: Tester;
}

const tags = ["Webhook endpoints"];
const read = { role: "admin", scope: "webhook-endpoints:read" } as const;
const write = { role: "admin", scope: "webhook-endpoints:write" } as const;
/** What the endpoint answered, `answer`, is read like all attempts. */
const testOutcome = [
  "event",
  "number",
  "status",
  "status_code",
  "error",
  "started_at",
  "duration_ms",
  "next_attempt_at",
];

/** `/v1/webhook-endpoints`: programs of the workspace that are told of events. Admins connect them. */
export function webhookEndpointRoutes(app: App, deps: WebhookEndpointRoutesDeps): void {
  app.post(
    "/v1/webhook-endpoints",
    {
      config: { access: write, idempotent: true, shows: "all" },
      schema: {
        tags,
        security: bearer,
        summary: "Connect a webhook endpoint",
        description:
          "It gets the events that happen from now on, signed by the Standard Webhooks specification. An API key without " +
          `all scopes subscribes only to events that it may read itself. A workspace has at most ${maxEndpoints} endpoints.`,
        body: newEndpointBody,
        response: { 201: endpointWithSecret, ...errorAnswers(400, 401, 403, 409) },
      },
    },
    async ({ principal, db, body }, reply) => {
      const { secret, ...made } = await createEndpoint(deps, db, principal, body);
      return reply.status(201).send({ ...showEndpoint(made), secret });
    },
  );

  app.get(
    "/v1/webhook-endpoints",
    {
      config: { access: read },
      schema: {
        tags,
        security: bearer,
        summary: "List webhook endpoints",
        querystring: pageQuery,
        response: { 200: pageOf(endpointResource), ...errorAnswers(400, 401, 403) },
      },
    },
    async ({ principal, db, query: { limit = 50, cursor } }) => {
      const rows = await listEndpoints(db, principal, { limit, after: decodeCursor(cursor) });
      return toPage(rows, limit, showEndpoint, (row) => ({ at: row.created_at, id: row.webhook_endpoint_id }));
    },
  );

  app.get(
    "/v1/webhook-endpoints/:id",
    {
      config: { access: read },
      schema: {
        tags,
        security: bearer,
        summary: "Get a webhook endpoint",
        params: idParams,
        response: { 200: endpointResource, ...errorAnswers(400, 401, 403, 404) },
      },
    },
    async ({ principal, db, params }) => showEndpoint(await findEndpoint(db, keyOf(principal, params))),
  );

  app.patch(
    "/v1/webhook-endpoints/:id",
    {
      config: { access: write },
      schema: {
        tags,
        security: bearer,
        summary: "Change a webhook endpoint",
        description:
          "Disabling an endpoint cancels its waiting events. Once enabled again, it gets the events from then on; " +
          "the rest can be replayed.",
        params: idParams,
        body: endpointPatch,
        response: { 200: endpointResource, ...errorAnswers(400, 401, 403, 404) },
      },
    },
    async ({ principal, db, params, body: { ordered, ...body } }) => {
      const { endpointId } = keyOf(principal, params);
      return showEndpoint(await changeEndpoint(deps, db, principal, endpointId, { ...body, isOrdered: ordered }));
    },
  );

  app.delete(
    "/v1/webhook-endpoints/:id",
    {
      config: { access: write },
      schema: {
        tags,
        security: bearer,
        summary: "Delete a webhook endpoint",
        description: "Nothing more is sent to it, and its secrets are erased.",
        params: idParams,
        response: { 204: nothing, ...errorAnswers(400, 401, 403, 404) },
      },
    },
    async ({ principal, db, params }, reply) => {
      await removeEndpoint(db, principal, keyOf(principal, params).endpointId);
      return reply.status(204).send(null);
    },
  );

  app.post(
    "/v1/webhook-endpoints/:id/rotate-secret",
    {
      config: { access: write, idempotent: true, shows: ["secret"] },
      ...optionalBody,
      schema: {
        tags,
        security: bearer,
        summary: "Give a webhook endpoint a new secret",
        description: "For a while both sign each event: the header `webhook-signature` holds two signatures.",
        params: idParams,
        body: rotationBody,
        response: { 200: endpointWithSecret, ...errorAnswers(400, 401, 403, 404, 409) },
      },
    },
    async ({ principal, db, params, body }) => {
      const { endpointId } = keyOf(principal, params);
      const overlapMs = (body.overlap_seconds ?? 86_400) * 1_000;
      const { secret, ...changed } = await rotateSecret(deps, db, principal, endpointId, overlapMs);
      return { ...showEndpoint(changed), secret };
    },
  );

  app.post(
    "/v1/webhook-endpoints/:id/test",
    {
      config: { access: write, idempotent: true, shows: testOutcome },
      schema: {
        tags,
        security: bearer,
        summary: "Send a test event",
        description:
          "`webhook_endpoint.test`, once and at once, whatever the endpoint asks for and whether it is enabled.",
        params: idParams,
        response: { 200: attemptResource, ...errorAnswers(400, 401, 403, 404, 503) },
      },
    },
    async ({ principal, db, params }) => showAttempt(await deps.tester.test(db, keyOf(principal, params))),
  );

  app.get(
    "/v1/webhook-endpoints/:id/attempts",
    {
      config: { access: read },
      schema: {
        tags,
        security: bearer,
        summary: "List the attempts at a webhook endpoint, newest first",
        params: idParams,
        querystring: Type.Object(
          { ...pageQuery.properties, status: Type.Optional(Type.Enum(["succeeded", "failed"])) },
          { additionalProperties: false },
        ),
        response: { 200: pageOf(attemptResource), ...errorAnswers(400, 401, 403, 404) },
      },
    },
    async ({ principal, db, params, query: { limit = 50, cursor, status } }) => {
      const key = keyOf(principal, params);
      await findEndpoint(db, key);
      const rows = await listAttempts(db, key, { limit, status, after: decodeCursor(cursor) });
      return toPage(rows, limit, showAttempt, (row) => ({ at: row.started_at, id: row.attempt_id }));
    },
  );

  app.post(
    "/v1/webhook-endpoints/:id/attempts/:attempt_id/replay",
    {
      config: { access: write, idempotent: true, shows: "all" },
      schema: {
        tags,
        security: bearer,
        summary: "Send the event of an attempt again",
        description: "It keeps its `webhook-id`, and its retries start over.",
        params: Type.Object({ id: uuid, attempt_id: uuid }),
        response: {
          202: Type.Object({ replayed: Type.Integer(), webhook_id: Type.String() }),
          ...errorAnswers(400, 401, 403, 404, 409),
        },
      },
    },
    async ({ principal, db, params }, reply) => {
      const webhook_id = await replayAttempt(deps, db, principal, keyOf(principal, params), params.attempt_id);
      return reply.status(202).send({ replayed: 1, webhook_id });
    },
  );

  app.post(
    "/v1/webhook-endpoints/:id/replay",
    {
      config: { access: write, idempotent: true, shows: "all" },
      schema: {
        tags,
        security: bearer,
        summary: "Send the events of a time range again",
        description:
          "Those from `from` up to, but not including, `to` (default: now) that the feed still has, whether the endpoint was " +
          "told of them before or not. `events` defaults to what it asks for.",
        params: idParams,
        body: replayBody,
        response: { 202: replayResource, ...errorAnswers(400, 401, 403, 404, 409) },
      },
    },
    async ({ principal, db, params, body }, reply) => {
      const from = new Date(body.from);
      const to = body.to === undefined ? new Date(deps.clock.now()) : new Date(body.to);
      if (!(from < to)) throw invalid("from must lie before to.", { field: "from" });
      const { replayed, nextFrom } = await replayRange(deps, db, principal, keyOf(principal, params), {
        from,
        to,
        events: body.events,
      });
      return reply.status(202).send({ replayed, next_from: nextFrom?.toISOString() ?? null });
    },
  );
}

function keyOf({ workspaceId }: { workspaceId: string }, { id }: { id: string }) {
  return { workspaceId, endpointId: id.toLowerCase() };
}
