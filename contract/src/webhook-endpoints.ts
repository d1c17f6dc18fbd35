import { type Static, Type } from "typebox";
import { type EventGroup, eventGroups, eventNames, testEvent } from "./events.ts";
import { operations } from "./operation.ts";
import { closed, line, named, nullable, pageOf, pageQuery, time, uuid } from "./schemas.ts";

/** The names that an endpoint may subscribe to: types of events, and groups of types. */
const webhookEvents = [...(Object.keys(eventGroups) as EventGroup[]), ...eventNames, testEvent] as const;

export const maxUrlLength = 2_000;
export const maxEndpoints = 50;
/** Events that one replay of a time range reads from the feed, and bytes of them that it sends. */
export const maxReplayed = 5_000;
export const maxReplayedBytes = 8 * 1024 * 1024;

/**
 * Why it is disabled: an admin said so, it returned 410, nothing reached it for five days, or the user or API key that
 * made it could not make it now.
 */
export const disabledReasons = ["requested", "gone", "failing", "maker_lost_access"] as const;

type WebhookEventName = (typeof webhookEvents)[number];
const WebhookEvent = named(
  "WebhookEvent",
  Type.Enum([...webhookEvents] as unknown as [WebhookEventName, ...WebhookEventName[]]),
);

const WebhookEndpointStatus = named("WebhookEndpointStatus", Type.Enum(["enabled", "disabled"]));

const inputs = {
  url: Type.String({
    minLength: 1,
    maxLength: maxUrlLength,
    description: "Where events are sent: https, on the public internet, without user, password or fragment.",
  }),
  events: Type.Array(WebhookEvent, {
    minItems: 1,
    maxItems: 50,
    description:
      "Types of events. `*` stands for all types, and `message.status` for the five from `message.in_transit` to " +
      "`message.failed`.",
  }),
  description: nullable(line(500)),
  ordered: Type.Boolean({
    description:
      "Whether events are sent one after the other, in the order of the feed. An event that fails then holds up those behind it.",
  }),
};

const NewWebhookEndpoint = named(
  "NewWebhookEndpoint",
  Type.Object(
    {
      url: inputs.url,
      events: inputs.events,
      description: Type.Optional(inputs.description),
      ordered: Type.Optional(inputs.ordered),
      secret: Type.Optional(
        Type.String({
          maxLength: 200,
          description: "`whsec_` and the base64 of 24 to 64 random bytes. Default: the hub generates it.",
        }),
      ),
    },
    closed,
  ),
  { url: "https://example.com/webhooks", events: ["message.received", "message.status"], description: "Orders" },
);

const WebhookEndpointChange = named(
  "WebhookEndpointChange",
  Type.Object(
    {
      url: Type.Optional(inputs.url),
      events: Type.Optional(inputs.events),
      description: Type.Optional(inputs.description),
      ordered: Type.Optional(inputs.ordered),
      status: Type.Optional(WebhookEndpointStatus),
    },
    { ...closed, minProperties: 1 },
  ),
  { status: "disabled" },
);

const endpointFields = {
  webhook_endpoint_id: uuid,
  url: Type.String(),
  events: Type.Array(Type.String()),
  description: nullable(Type.String()),
  ordered: Type.Boolean(),
  status: WebhookEndpointStatus,
  disabled_at: nullable(time),
  disabled_reason: nullable(
    Type.Enum([...disabledReasons], {
      description:
        "`requested`: by an admin. `gone`: it returned 410. `failing`: it failed for five days without a success. " +
        "`maker_lost_access`: the user or API key that made it would no longer be allowed to make it.",
    }),
  ),
  failing_since: nullable(time),
  old_secret_until: nullable(time, { description: "Until when the previous secret signs beside the new one." }),
  made_by: nullable(uuid, {
    description:
      "The user who last made or enabled it, or changed its URL or events. The endpoint gets events as long as that user is an " +
      "admin, and the API key works.",
  }),
  made_by_key_id: nullable(uuid, { description: "The API key by which it was made; null for a logged-in user." }),
  created_at: time,
};

const example = {
  webhook_endpoint_id: "0192f5c4-7d1e-7b3a-9c55-0a8e4f1d2b3c",
  url: "https://example.com/webhooks",
  events: ["message.received", "message.status"],
  description: "Orders",
  ordered: false,
  status: "enabled" as const,
  disabled_at: null,
  disabled_reason: null,
  failing_since: null,
  old_secret_until: null,
  made_by: "0192f5c4-7d1e-7b3a-9c55-0a8e4f1d2b3d",
  made_by_key_id: null,
  created_at: "2026-11-29T12:00:00.000Z",
};

const WebhookEndpoint = named("WebhookEndpoint", Type.Object(endpointFields), example);

const WebhookEndpointWithSecret = named(
  "WebhookEndpointWithSecret",
  Type.Object(
    {
      ...endpointFields,
      secret: Type.String({ description: "Verifies the signatures. It is shown only in this response." }),
    },
    { description: "The webhook endpoint, with its secret." },
  ),
  { ...example, secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" },
);

const attemptStatus = Type.Enum(["succeeded", "failed"]);

const WebhookAttempt = named(
  "WebhookAttempt",
  Type.Object({
    attempt_id: uuid,
    webhook_endpoint_id: uuid,
    webhook_id: Type.String({ description: "The header `webhook-id`: the same in every attempt of an event." }),
    event: Type.String(),
    number: Type.Integer({ description: "From 1." }),
    status: attemptStatus,
    status_code: nullable(Type.Integer()),
    error: nullable(Type.String()),
    answer: nullable(Type.String({ description: "The first KiB of the endpoint's response." })),
    started_at: time,
    duration_ms: Type.Integer(),
    next_attempt_at: nullable(time),
  }),
  {
    attempt_id: "0192f5c4-7d1e-7b3a-9c55-0a8e4f1d2b3e",
    webhook_endpoint_id: "0192f5c4-7d1e-7b3a-9c55-0a8e4f1d2b3c",
    webhook_id: "0192f5c4-7d1e-7b3a-9c55-0a8e4f1d2b3f",
    event: "message.received",
    number: 1,
    status: "failed",
    status_code: 500,
    error: "It returned 500.",
    answer: "Internal Server Error",
    started_at: "2026-11-29T12:00:00.000Z",
    duration_ms: 87,
    next_attempt_at: "2026-11-29T12:00:05.000Z",
  },
);

export type WebhookAttempt = Static<typeof WebhookAttempt>;

const SecretRotation = named(
  "SecretRotation",
  Type.Object(
    {
      overlap_seconds: Type.Optional(
        Type.Integer({
          minimum: 0,
          maximum: 7 * 86_400,
          default: 86_400,
          description: "How long the old secret signs beside the new one.",
        }),
      ),
    },
    closed,
  ),
  { overlap_seconds: 3_600 },
);

const WebhookReplay = named(
  "WebhookReplay",
  Type.Object({ from: time, to: Type.Optional(time), events: Type.Optional(inputs.events) }, closed),
  { from: "2026-11-29T12:00:00.000Z", to: "2026-11-29T13:00:00.000Z" },
);

const ReplayedEvents = named(
  "ReplayedEvents",
  Type.Object({
    replayed: Type.Integer({ description: "How many events are sent again." }),
    next_from: nullable(time, {
      description:
        "`from` of the next call, when the range holds more than one call reads: about " +
        `${maxReplayed.toLocaleString("en")} events, or ${maxReplayedBytes / 1024 / 1024} MiB of them.`,
    }),
  }),
  { replayed: 42, next_from: null },
);

const ReplayedEvent = named("ReplayedEvent", Type.Object({ replayed: Type.Integer(), webhook_id: Type.String() }), {
  replayed: 1,
  webhook_id: "0192f5c4-7d1e-7b3a-9c55-0a8e4f1d2b3f",
});

/** The endpoint's response, `answer`, is read like all attempts. */
const testOutcome = [
  "event",
  "number",
  "status",
  "status_code",
  "error",
  "started_at",
  "duration_ms",
  "next_attempt_at",
] as const;

const read = { role: "admin", scope: "webhook-endpoints:read" } as const;
const write = { role: "admin", scope: "webhook-endpoints:write" } as const;

/** Programs of the workspace that receive its events by HTTP. Admins connect them. */
export const webhookEndpoints = operations("Webhook endpoints", {
  createWebhookEndpoint: {
    method: "POST",
    path: "/v1/webhook-endpoints",
    summary: "Create a webhook endpoint",
    description:
      "It gets the events that happen from now on, signed by the Standard Webhooks specification. An API key without all " +
      `scopes subscribes only to events that it may read itself. A workspace has at most ${maxEndpoints} endpoints (409).`,
    access: write,
    idempotent: true,
    shows: "all",
    body: NewWebhookEndpoint,
    answers: { 201: WebhookEndpointWithSecret },
    errors: [409],
  },
  listWebhookEndpoints: {
    method: "GET",
    path: "/v1/webhook-endpoints",
    summary: "List webhook endpoints, newest first",
    access: read,
    query: Type.Object(pageQuery, closed),
    answers: { 200: pageOf(WebhookEndpoint) },
  },
  getWebhookEndpoint: {
    method: "GET",
    path: "/v1/webhook-endpoints/{id}",
    summary: "Get a webhook endpoint",
    access: read,
    answers: { 200: WebhookEndpoint },
  },
  updateWebhookEndpoint: {
    method: "PATCH",
    path: "/v1/webhook-endpoints/{id}",
    summary: "Update a webhook endpoint",
    description:
      "Disabling an endpoint cancels its waiting events. When it is enabled again, it gets the events from then on; " +
      "replay the others.",
    access: write,
    body: WebhookEndpointChange,
    answers: { 200: WebhookEndpoint },
  },
  deleteWebhookEndpoint: {
    method: "DELETE",
    path: "/v1/webhook-endpoints/{id}",
    summary: "Delete a webhook endpoint",
    description: "Nothing more is sent to it, and its secrets are erased.",
    access: write,
    answers: { 204: null },
  },
  rotateWebhookSecret: {
    method: "POST",
    path: "/v1/webhook-endpoints/{id}/rotate-secret",
    summary: "Rotate the secret of a webhook endpoint",
    description:
      "For a while the old and the new secret both sign each event: the header `webhook-signature` holds two signatures.",
    access: write,
    idempotent: true,
    shows: ["secret"],
    body: SecretRotation,
    isBodyOptional: true,
    answers: { 200: WebhookEndpointWithSecret },
    errors: [409],
  },
  testWebhookEndpoint: {
    method: "POST",
    path: "/v1/webhook-endpoints/{id}/test",
    summary: "Send a test event to a webhook endpoint",
    description:
      "Sends `webhook_endpoint.test` at once and without retries, even if the endpoint does not subscribe to it or is " +
      "disabled.",
    access: write,
    idempotent: true,
    shows: testOutcome,
    answers: { 200: WebhookAttempt },
  },
  listWebhookAttempts: {
    method: "GET",
    path: "/v1/webhook-endpoints/{id}/attempts",
    summary: "List the attempts to send events to a webhook endpoint, newest first",
    access: read,
    query: Type.Object({ ...pageQuery, status: Type.Optional(attemptStatus) }, closed),
    answers: { 200: pageOf(WebhookAttempt) },
  },
  replayWebhookAttempt: {
    method: "POST",
    path: "/v1/webhook-endpoints/{id}/attempts/{attempt_id}/replay",
    summary: "Send the event of an attempt again",
    description: "It keeps its `webhook-id`, and its retries start over. 409 while the endpoint is disabled.",
    access: write,
    idempotent: true,
    shows: "all",
    answers: { 202: ReplayedEvent },
    errors: [409],
  },
  replayWebhookEvents: {
    method: "POST",
    path: "/v1/webhook-endpoints/{id}/replay",
    summary: "Send the events of a time range again",
    description:
      "Sends the events from `from` up to, but not including, `to` (default: now) that the feed still has, whether they were sent " +
      "to the endpoint before or not. Default of `events`: what the endpoint subscribes to. 409 while it is disabled.",
    access: write,
    idempotent: true,
    shows: "all",
    body: WebhookReplay,
    answers: { 202: ReplayedEvents },
    errors: [409],
  },
});
