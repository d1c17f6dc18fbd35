import { Type } from "typebox";
import {
  disabledReasons,
  maxReplayed,
  maxUrlLength,
  type WebhookAttempt,
  type WebhookEndpoint,
  webhookEvents,
} from "../webhook-endpoints/webhook-endpoints.ts";
import { line, nullable, time, uuid } from "./identity-schemas.ts";

type EventName = (typeof webhookEvents)[number];

const eventName = Type.Enum(webhookEvents as unknown as [EventName, ...EventName[]]);

const fields = {
  url: Type.String({
    minLength: 1,
    maxLength: maxUrlLength,
    description: "Where events are sent: https, on the public internet, without user, password or fragment",
  }),
  events: Type.Array(eventName, {
    minItems: 1,
    maxItems: 50,
    description:
      "Types of events; `*` is all types, and `message.status` the five from `message.in_transit` to `message.failed`",
  }),
  description: nullable(line(500)),
  ordered: Type.Boolean({
    description: "One event after the other, in the order of the feed: one that fails holds up those behind it",
  }),
};

export const newEndpointBody = Type.Object(
  {
    url: fields.url,
    events: fields.events,
    description: Type.Optional(fields.description),
    ordered: Type.Optional(fields.ordered),
    secret: Type.Optional(
      Type.String({
        maxLength: 200,
        description: "`whsec_` and the base64 of 24 to 64 random bytes; default: made here",
      }),
    ),
  },
  { additionalProperties: false },
);

export const endpointStatus = Type.Enum(["enabled", "disabled"]);

export const endpointPatch = Type.Object(
  {
    url: Type.Optional(fields.url),
    events: Type.Optional(fields.events),
    description: Type.Optional(fields.description),
    ordered: Type.Optional(fields.ordered),
    status: Type.Optional(endpointStatus),
  },
  { additionalProperties: false, minProperties: 1 },
);

export const rotationBody = Type.Object(
  {
    overlap_seconds: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 7 * 86_400,
        default: 86_400,
        description: "How long the secret before signs beside the new one",
      }),
    ),
  },
  { additionalProperties: false },
);

export const replayBody = Type.Object(
  {
    from: time,
    to: Type.Optional(time),
    events: Type.Optional(fields.events),
  },
  { additionalProperties: false },
);

export const replayResource = Type.Object({
  replayed: Type.Integer({ description: "Events that are sent by it" }),
  next_from: nullable(
    Type.String({
      format: "date-time",
      description: `Where to go on, when the range holds more than the ${maxReplayed} events that one call reads`,
    }),
  ),
});

export const endpointResource = Type.Object({
  webhook_endpoint_id: uuid,
  url: Type.String(),
  events: Type.Array(Type.String()),
  description: nullable(Type.String()),
  ordered: Type.Boolean(),
  status: endpointStatus,
  disabled_at: nullable(time),
  disabled_reason: nullable(
    Type.Enum([...disabledReasons], {
      description:
        "`requested` by an admin, `gone`: it answered 410, `failing` for five days, or `maker_lost_access`: the user or " +
        "API key that made it could not make it now",
    }),
  ),
  failing_since: nullable(time),
  old_secret_until: nullable(time),
  made_by: nullable({
    ...uuid,
    description:
      "The user who made or enabled it last, or changed its address or events. It gets events as long as that user is an " +
      "admin, and the API key works",
  }),
  made_by_key_id: nullable({ ...uuid, description: "The API key by which it was made; null for a logged-in user" }),
  created_at: time,
});

export const endpointWithSecret = Type.Object({
  ...endpointResource.properties,
  secret: Type.String({ description: "Shown this once: verifies the signatures" }),
});

export const attemptResource = Type.Object({
  attempt_id: uuid,
  webhook_endpoint_id: uuid,
  webhook_id: Type.String({ description: "The header `webhook-id`: the same in every attempt of an event" }),
  event: Type.String(),
  number: Type.Integer(),
  status: Type.Enum(["succeeded", "failed"]),
  status_code: nullable(Type.Integer()),
  error: nullable(Type.String()),
  answer: nullable(Type.String({ description: "The first KiB of what the endpoint said" })),
  started_at: time,
  duration_ms: Type.Integer(),
  next_attempt_at: nullable(time),
});

export function showEndpoint(row: WebhookEndpoint) {
  const { webhook_endpoint_id, url, events, description, status, disabled_reason } = row;
  return {
    webhook_endpoint_id,
    url,
    events,
    description,
    ordered: row.is_ordered,
    status,
    disabled_at: row.disabled_at?.toISOString() ?? null,
    disabled_reason,
    failing_since: row.failing_since?.toISOString() ?? null,
    old_secret_until: row.old_secret_until?.toISOString() ?? null,
    made_by: row.made_by,
    made_by_key_id: row.made_by_key,
    created_at: row.created_at.toISOString(),
  };
}

export function showAttempt({ webhook_delivery_id, ...row }: WebhookAttempt) {
  return {
    ...row,
    webhook_id: webhook_delivery_id,
    started_at: row.started_at.toISOString(),
    next_attempt_at: row.next_attempt_at?.toISOString() ?? null,
  };
}
