import { type TProperties, type TSchema, Type } from "typebox";
import { ChannelAccountStatus } from "../../../contract/src/channel-accounts.ts";
import { Conversation } from "../../../contract/src/conversations.ts";
import type { InboundRoute, MessageStatus } from "../../../contract/src/messages.ts";
import { type EventName, eventNames, type FrameType, frameTypes } from "../events/events.ts";
import { nullable, uuid } from "./identity-schemas.ts";

const hidden = "Null for callers with the role member.";
const seq = Type.Integer({ description: "The message's place in its conversation" });
const text = (description: string) => Type.String({ description });
const moment = (description: string) => Type.String({ format: "date-time", description });

/** Fields of every event about a message. */
const messageFields = {
  message_id: uuid,
  conversation_id: uuid,
  conversation_type: nullable(Type.Enum(["private", "group"])),
  sender_id: uuid,
  sender_name: nullable(text("The sender's name, as it is now")),
  channel_account_id: nullable(text("The account of yours on that channel; `via` sends an answer from it")),
  reply_to: nullable(text("The message of this conversation that it answers")),
};

const newMessageFields = {
  ...messageFields,
  seq,
  direction: Type.Enum(["inbound", "outbound"]),
  recipient_id: nullable(text("The other participant of a private conversation; null in a group")),
  channel: nullable(text("The channel on which it came; null when a program or a user wrote it")),
  address: nullable(text(`The address from which it came. ${hidden}`)),
  provider_message_id: nullable(text(`The platform's id of the message. ${hidden}`)),
  content: nullable(text("The text, or the caption of a file")),
  payload: Type.Unknown(),
  file_id: nullable(Type.String()),
  route: Type.Unsafe<InboundRoute | null>({
    type: ["string", "null"],
    enum: ["quoted", "last_used", "private", null],
    description: "Why an inbound message landed in this conversation; null for others",
  }),
  sent_at: nullable(moment("When the person sent it, according to the platform; null when the platform does not say")),
  created_at: moment("When the hub accepted it"),
};

const statusFields = {
  ...messageFields,
  seq: nullable(seq),
  delivery_id: uuid,
  sender_id: nullable(uuid),
  recipient_id: uuid,
  channel: text("The channel of the delivery; `app` is the hub's own"),
  address: nullable(text(`Where the delivery goes; null in the app. ${hidden}`)),
  provider_message_id: nullable(text(`The platform's id, of the first part of a text that was split. ${hidden}`)),
  status: Type.Unsafe<MessageStatus>({ type: "string", enum: ["in_transit", "sent", "delivered", "read", "failed"] }),
  error: nullable(Type.Object({ code: Type.String(), message: Type.String() })),
  sent_at: nullable(moment("When the platform took it")),
  platform_at: nullable(moment("When it reached this status, according to the platform's receipt")),
};

/** The fields of events, by frame. */
const fieldsByFrame: Record<FrameType, TProperties> = {
  NEW_MESSAGE: newMessageFields,
  MESSAGE_STATUS: statusFields,
  CONVERSATION: { conversation: Conversation },
  WEBHOOK_ENDPOINT: {
    webhook_endpoint_id: uuid,
    status: Type.Enum(["enabled", "disabled"]),
    reason: Type.String(),
  },
  CHANNEL_ACCOUNT: {
    channel_account_id: uuid,
    channel: Type.String(),
    name: Type.String(),
    status: ChannelAccountStatus,
    reason: nullable(text("Why it needs attention: CREDENTIALS_INVALID or ACCOUNT_RESTRICTED; else null")),
    detail: nullable(text("What the platform said; null unless it needs attention")),
  },
};

/** Fields of frames that webhook bodies do not have. */
const frameOnly: Partial<Record<FrameType, TProperties>> = {
  NEW_MESSAGE: { timestamp: Type.Integer({ description: "`created_at` in milliseconds since the Unix epoch" }) },
};

const cursor = Type.String({ description: "Opaque: resume from here" });
const namesOf = (frame: FrameType) => eventNames.filter((name) => frameTypes[name] === frame);

function frameSchema(type: FrameType): TSchema {
  const event = Type.Enum(namesOf(type) as [EventName, ...EventName[]]);
  const common = { type: Type.Enum([type]), cursor, event, at: moment("When it was committed") };
  return Type.Object({ ...common, ...fieldsByFrame[type], ...frameOnly[type] });
}

const gap = Type.Object({
  type: Type.Enum(["GAP"]),
  cursor,
  reason: Type.Enum(["expired", "unknown"]),
});

/** An event of the feed as in pages, streams and sockets, or the gap in its place. */
export const feedFrame = Type.Unsafe<Record<string, unknown>>({
  anyOf: [...(Object.keys(fieldsByFrame) as FrameType[]).map(frameSchema), gap],
  description: "`event` is the type of the event, as in webhooks. Later versions may add fields and types.",
});

const testFields = { webhook_endpoint_id: uuid };

function webhookSchema(name: string, fields: TProperties): TSchema {
  const timestamp = moment("When the event was committed");
  return Type.Object({ type: Type.Enum([name]), timestamp, data: Type.Object(fields) });
}

function webhookOperation(name: string, fields: TProperties) {
  return {
    post: {
      tags: ["Webhook endpoints"],
      summary: `Receive ${name} at a webhook endpoint`,
      description:
        "Signed by the Standard Webhooks specification: `webhook-id`, `webhook-timestamp`, `webhook-signature`.",
      requestBody: { required: true, content: { "application/json": { schema: webhookSchema(name, fields) } } },
      responses: { "2XX": { description: "Accepted. Any other answer is a failure: the event is sent again." } },
    },
  };
}

/** The requests that the hub makes to webhook endpoints, for the OpenAPI document. */
export const webhookOperations: Record<string, object> = Object.fromEntries([
  ...eventNames.map((name) => [name, webhookOperation(name, fieldsByFrame[frameTypes[name]])]),
  ["webhook_endpoint.test", webhookOperation("webhook_endpoint.test", testFields)],
]);
