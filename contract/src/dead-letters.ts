import { Type } from "typebox";
import { DeliveryError, deliveryFields } from "./messages.ts";
import { operations } from "./operation.ts";
import { closed, named, oneOf, pageOf, pageQuery, time } from "./schemas.ts";

const channel = Type.Optional(Type.String({ maxLength: 30 }));
const code = Type.Optional(
  Type.String({ maxLength: 60, description: "The code of the error, such as `WINDOW_CLOSED`." }),
);

const FailedDelivery = named(
  "FailedDelivery",
  Type.Object({
    kind: Type.Enum(["delivery", "message"], { description: "`message`: it could not be routed at all." }),
    ...deliveryFields,
    message_id: Type.String(),
    conversation_id: Type.String(),
  }),
);

const FailedWebhook = named(
  "FailedWebhook",
  Type.Object({
    kind: Type.Literal("webhook", { description: "A platform's webhook that could not be read." }),
    webhook_id: Type.String(),
    channel: Type.String(),
    channel_account_id: Type.String(),
    status: Type.Literal("failed"),
    error: DeliveryError,
    received_at: time,
    failed_at: time,
  }),
);

const DeadLetter = named("DeadLetter", oneOf("kind", [FailedDelivery, FailedWebhook]));

const DeadLetterReplay = named(
  "DeadLetterReplay",
  Type.Object(
    {
      channel,
      code,
      all: Type.Optional(Type.Literal(true, { description: "Needed when you give neither a channel nor a code." })),
      dry_run: Type.Optional(Type.Boolean({ description: "Only count what would be replayed." })),
    },
    closed,
  ),
  { channel: "whatsapp", code: "WINDOW_CLOSED", dry_run: true },
);

const ReplayedDeadLetters = named(
  "ReplayedDeadLetters",
  Type.Object({
    replayed: Type.Integer({ description: "0 in a dry run." }),
    dry_run: Type.Boolean(),
    matching: Type.Array(Type.Object({ channel: Type.String(), code: Type.String(), count: Type.Integer() }), {
      description: "What could be replayed before this call, by channel and error code.",
    }),
  }),
  { replayed: 0, dry_run: true, matching: [{ channel: "whatsapp", code: "WINDOW_CLOSED", count: 12 }] },
);

const read = { role: "agent", scope: "messages:read" } as const;
const write = { role: "agent", scope: "messages:write" } as const;

export const deadLetters = operations("Dead letters", {
  listDeadLetters: {
    method: "GET",
    path: "/v1/dead-letters",
    summary: "List dead letters, newest first",
    description:
      "Deliveries that failed for good, messages that could not be routed and webhooks that could not be read. A delivery " +
      "that a fallback superseded is not a dead letter.",
    access: read,
    query: Type.Object({ ...pageQuery, channel, code }, closed),
    answers: { 200: pageOf(DeadLetter) },
  },
  replayDeadLetter: {
    method: "POST",
    path: "/v1/dead-letters/{id}/replay",
    summary: "Replay a dead letter",
    description:
      "`id` is that of its delivery or webhook. A delivery goes to the end of its lane, a message goes behind those of its " +
      "conversation that were routed meanwhile. A second call gets 404.",
    access: write,
    idempotent: true,
    shows: "all",
    answers: { 202: named("ReplayedDeadLetter", Type.Object({ replayed: Type.Integer() }), { replayed: 1 }) },
    errors: [409],
  },
  replayDeadLetters: {
    method: "POST",
    path: "/v1/dead-letters/replay",
    summary: "Replay the dead letters of a channel or an error",
    description:
      "Oldest first, at most 1,000: call again until `replayed` is 0. Without a channel and a code, `all: true` is needed. Use " +
      "`dry_run: true` first to see what would be sent.",
    access: write,
    idempotent: true,
    shows: "all",
    body: DeadLetterReplay,
    answers: { 200: ReplayedDeadLetters, 202: ReplayedDeadLetters },
  },
  deleteDeadLetter: {
    method: "DELETE",
    path: "/v1/dead-letters/{id}",
    summary: "Discard a dead letter",
    description: "The delivery stays failed, and is no longer listed.",
    access: write,
    answers: { 204: null },
  },
});
