import { type Static, Type } from "typebox";
import { messagingWindow } from "./conversations.ts";
import { FileStatus } from "./files.ts";
import { operations } from "./operation.ts";
import { Payload } from "./payloads.ts";
import { addressPattern, channelName, metadata } from "./people.ts";
import { asIs, closed, named, nullable, pageOf, pageQuery, recordOf, time, uuid } from "./schemas.ts";

export const MessageStatus = named(
  "MessageStatus",
  Type.Enum(["accepted", "in_transit", "sent", "delivered", "read", "failed"]),
);
export type MessageStatus = Static<typeof MessageStatus>;

/** An error that a platform or the hub gave a delivery. */
export const DeliveryError = named("DeliveryError", Type.Object({ code: Type.String(), message: Type.String() }), {
  code: "WINDOW_CLOSED",
  message: "The person last wrote more than 24 hours ago: send a template.",
});

const maybeTime = nullable(time);
const maybeText = nullable(Type.String());

export const deliveryFields = {
  delivery_id: Type.String(),
  recipient: Type.String(),
  channel: Type.String(),
  address: nullable(Type.String(), {
    description: "Null for callers with the role member, as are the provider ids, except for deliveries to themselves.",
  }),
  channel_account_id: maybeText,
  status: MessageStatus,
  provider_message_id: maybeText,
  provider_message_ids: Type.Array(Type.String(), { description: "One for each part of a text that was split." }),
  attempts: Type.Integer(),
  error: nullable(DeliveryError, {
    description:
      "Why it failed, or why its last attempt did. `CHANNEL_ACCOUNT_NEEDS_ATTENTION` and `CHANNEL_ACCOUNT_DISABLED`: it waits " +
      "until the account is active again.",
  }),
  next_attempt_at: maybeTime,
  sent_at: maybeTime,
  delivered_at: maybeTime,
  read_at: maybeTime,
  failed_at: maybeTime,
};
export const Delivery = named("Delivery", Type.Object(deliveryFields));
export type Delivery = Static<typeof Delivery>;

export const InboundRoute = named(
  "InboundRoute",
  Type.Enum(["quoted", "last_used", "private"], {
    description:
      "Why an inbound message landed in its conversation. `quoted`: it quotes a message of this conversation. `last_used`: the " +
      "person last got a message here on that channel account, or last wrote. `private`: neither is true of any conversation, so it is the private " +
      "conversation of the workspace and the person.",
  }),
);
export type InboundRoute = Static<typeof InboundRoute>;

export const MessageFile = named(
  "MessageFile",
  Type.Object(
    {
      file_id: Type.String(),
      filename: Type.String(),
      size: Type.Integer({ description: "Bytes." }),
      content_type: maybeText,
      status: FileStatus,
    },
    { description: "The file of a message, as it is now: it may have been deleted since." },
  ),
);
export type MessageFile = Static<typeof MessageFile>;

export const Message = named(
  "Message",
  Type.Object({
    message_id: Type.String(),
    conversation_id: Type.String(),
    seq: Type.Integer(),
    from: Type.String(),
    direction: Type.Enum(["outbound", "inbound"]),
    payload: asIs(Payload),
    file: nullable(MessageFile, { description: "Of a payload of the type `file`; else null." }),
    channels: nullable(Type.Array(Type.String())),
    reply_to: maybeText,
    route: nullable(InboundRoute, { description: "Why an inbound message landed here. Null for outbound messages." }),
    status: MessageStatus,
    // A `Type.Record` would leave out names with a line end.
    metadata: nullable(Type.Unsafe<Record<string, unknown>>({ type: "object", additionalProperties: true })),
    created_at: time,
    deliveries: Type.Array(Delivery),
  }),
);
export type Message = Static<typeof Message>;

const maxChannels = 10;

export const NewMessage = named(
  "NewMessage",
  Type.Object(
    {
      message_id: Type.Optional({
        ...uuid,
        description:
          "A UUID that you choose, best a UUIDv7: the idempotency key of the message. A UUIDv7 whose time is more than 7 days " +
          "in the future is refused.",
      }),
      conversation_id: Type.Optional(uuid),
      to: Type.Optional(
        Type.String({
          maxLength: 250,
          pattern: addressPattern,
          description:
            "An address, such as `whatsapp:+5511999991111`; for callers with the role member, that of a user. The message goes " +
            "into the caller's private conversation with that person or, for agents and API keys, into the workspace's: if " +
            "there are both, into the one used last. To reply to a message, give its `conversation_id` instead.",
        }),
      ),
      from: Type.Optional(uuid),
      payload: Payload,
      channels: Type.Optional(Type.Array(channelName, { minItems: 1, maxItems: maxChannels })),
      via: Type.Optional(recordOf(channelName, uuid, { maxProperties: maxChannels })),
      reply_to: Type.Optional(uuid),
      fallback: Type.Optional(
        Type.Object(
          {
            order: Type.Array(channelName, { minItems: 1, maxItems: maxChannels }),
            after_seconds: Type.Optional(Type.Integer({ minimum: 1, maximum: 604_800, default: 60 })),
          },
          closed,
        ),
      ),
      metadata: Type.Optional(metadata),
    },
    closed,
  ),
  {
    to: "whatsapp:+5511999991111",
    payload: { type: "template", name: "hello_world", language: "en_US", parameters: [] },
  },
);
export type NewMessage = Static<typeof NewMessage>;

const acceptedFields = {
  message_id: Type.String(),
  conversation_id: Type.String(),
  seq: Type.Integer(),
  status: Type.Literal("accepted"),
  created_at: time,
};
const AcceptedMessage = named("AcceptedMessage", Type.Object(acceptedFields), {
  message_id: "0192f5c4-7d1e-7b3a-9c55-0a8e4f1d2b3c",
  conversation_id: "0192f5c4-7d1e-7b3a-9c55-0a8e4f1d2b3d",
  seq: 1,
  status: "accepted",
  created_at: "2026-11-29T12:00:00.000Z",
});

export const maxBatch = 1_000;

export const BatchResult = named(
  "BatchResult",
  Type.Object(
    {
      ...Type.Partial(Type.Object(acceptedFields)).properties,
      message_id: nullable(Type.String()),
      error: Type.Optional(
        Type.Object({
          code: Type.String(),
          message: Type.String(),
          details: Type.Record(Type.String(), Type.Unknown()),
        }),
      ),
    },
    { description: "Either the accepted message, or the error." },
  ),
);
export type BatchResult = Static<typeof BatchResult>;
const BatchResults = named("BatchResults", Type.Object({ results: Type.Array(BatchResult) }));

const PreflightRecipient = named(
  "PreflightRecipient",
  Type.Object({
    participant_id: nullable(Type.String()),
    channel: Type.String(),
    address: nullable(Type.String()),
    channel_account_id: nullable(Type.String()),
    can_send: Type.Boolean(),
    reason: nullable(Type.String()),
    window: messagingWindow,
    needs: nullable(Type.Literal("template")),
    adaptations: Type.Array(Type.String()),
  }),
);

export type PreflightRecipient = Static<typeof PreflightRecipient>;

const Preflight = named(
  "Preflight",
  Type.Object(
    { recipients: Type.Array(PreflightRecipient) },
    { description: "What sending would do, for each recipient." },
  ),
);

/** Without the address and the time of the last message. */
const preflightOutcome = ["channel", "can_send", "reason", "window.state", "needs", "adaptations"].map(
  (name) => `recipients.${name}`,
);

const AuditTrailEntry = named(
  "AuditTrailEntry",
  Type.Object({
    at: time,
    status: MessageStatus,
    delivery_id: nullable(Type.String()),
    channel: nullable(Type.String()),
    cause: Type.String(),
  }),
);
const TraceEntry = named(
  "TraceEntry",
  Type.Object(
    { at: time, what: Type.String() },
    { additionalProperties: true, description: "`what` says which other fields there are." },
  ),
);

/** Default and most entries of a page of a trace: for most messages the first page is the whole list. */
export const maxEntries = 200;
const entryQuery = Type.Object(
  { ...pageQuery, limit: Type.Optional({ ...pageQuery.limit, default: maxEntries }) },
  closed,
);

const maxSeq = Number.MAX_SAFE_INTEGER;
const send = { role: "member", scope: "messages:write" } as const;
const read = { role: "member", scope: "messages:read" } as const;

export const messages = operations("Messages", {
  sendMessage: {
    method: "POST",
    path: "/v1/messages",
    summary: "Send a message",
    description:
      "202 means that the message is on durable storage. `message_id` is an idempotency key that never expires: the same id and " +
      "body again return the same response with the header `idempotent-replayed: true`.",
    access: send,
    idempotent: true,
    shows: "all",
    body: NewMessage,
    answers: { 202: AcceptedMessage },
    errors: [404, 409, 422],
  },
  sendMessageBatch: {
    method: "POST",
    path: "/v1/messages/batch",
    summary: "Send up to 1,000 messages",
    description:
      "Results are in the order of the request; a refused message never fails the others. Repeated with the same `Idempotency-Key`, " +
      "the request retries only those messages whose errors would not be remembered for a single one (403, " +
      "404, 5xx); the other results stay as they were.",
    access: send,
    idempotent: true,
    shows: "all",
    body: named(
      "MessageBatch",
      Type.Object({ messages: Type.Array(NewMessage, { minItems: 1, maxItems: maxBatch }) }, closed),
      {
        messages: [
          { to: "whatsapp:+5511999991111", payload: { type: "text", text: "Your order has left our warehouse." } },
          { to: "telegram:123456789", payload: { type: "text", text: "Your order arrives today." } },
        ],
      },
    ),
    answers: { 200: BatchResults },
    errors: [409],
  },
  preflightMessage: {
    method: "POST",
    path: "/v1/messages/preflight",
    summary: "Get what sending a message would do, without sending it",
    access: send,
    shows: preflightOutcome,
    body: NewMessage,
    answers: { 200: Preflight },
    errors: [404],
  },
  getMessage: {
    method: "GET",
    path: "/v1/messages/{id}",
    summary: "Get a message and its deliveries",
    access: read,
    answers: { 200: Message },
  },
  getMessageAuditTrail: {
    method: "GET",
    path: "/v1/messages/{id}/events",
    summary: "Get the audit trail of a message",
    description: "Each change of status with its time, delivery and cause, oldest first.",
    access: read,
    query: entryQuery,
    answers: { 200: pageOf(AuditTrailEntry) },
  },
  getMessageTrace: {
    method: "GET",
    path: "/v1/messages/{id}/trace",
    summary: "Get everything that happened to a message",
    description: "Oldest first: accepted, routed and why, each attempt (redacted), each webhook about it.",
    access: { role: "agent", scope: "messages:read" },
    query: entryQuery,
    answers: { 200: pageOf(TraceEntry) },
  },
});

export const conversationMessages = operations("Conversations", {
  listMessages: {
    method: "GET",
    path: "/v1/conversations/{id}/messages",
    summary: "List the messages of a conversation",
    description:
      "Newest first; oldest first with `after_seq`. A message whose `seq` is given is not part of the page. `offset` counts " +
      "from the end at which the page begins, and is ignored with a `cursor`. A page may hold fewer messages than `limit`: it " +
      "ends at about 1 MiB, deliveries included.",
    access: read,
    query: Type.Object(
      {
        ...pageQuery,
        offset: Type.Optional(Type.Integer({ minimum: 0, maximum: maxSeq, default: 0 })),
        before_seq: Type.Optional(Type.Integer({ minimum: 1, maximum: maxSeq })),
        after_seq: Type.Optional(Type.Integer({ minimum: 0, maximum: maxSeq })),
      },
      closed,
    ),
    answers: { 200: pageOf(Message) },
  },
});
