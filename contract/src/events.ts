import { type TProperties, type TSchema, Type } from "typebox";
import type { Scope } from "./access.ts";
import { ChannelAccountStatus } from "./channel-accounts.ts";
import { Conversation, ConversationType } from "./conversations.ts";
import { File } from "./files.ts";
import { DeliveryError, InboundRoute, MessageStatus } from "./messages.ts";
import { operations } from "./operation.ts";
import { Payload } from "./payloads.ts";
import { asIs, closed, named, nullable, oneOf, pascalCase, uuid } from "./schemas.ts";
import { Task } from "./tasks.ts";

/** Every type of event of the feed, and its frame in sockets, streams and pages. */
export const frameTypes = {
  "message.received": "NEW_MESSAGE",
  "message.accepted": "NEW_MESSAGE",
  "message.in_transit": "MESSAGE_STATUS",
  "message.sent": "MESSAGE_STATUS",
  "message.delivered": "MESSAGE_STATUS",
  "message.read": "MESSAGE_STATUS",
  "message.failed": "MESSAGE_STATUS",
  "conversation.created": "CONVERSATION",
  "conversation.updated": "CONVERSATION",
  "file.completed": "FILE",
  "file.rejected": "FILE",
  "file.deleted": "FILE",
  "file.described": "FILE",
  "task.pending": "TASK",
  "task.running": "TASK",
  "task.completed": "TASK",
  "task.failed": "TASK",
  "task.cancelled": "TASK",
  "webhook_endpoint.enabled": "WEBHOOK_ENDPOINT",
  "webhook_endpoint.disabled": "WEBHOOK_ENDPOINT",
  "channel_account.active": "CHANNEL_ACCOUNT",
  "channel_account.disabled": "CHANNEL_ACCOUNT",
  "channel_account.needs_attention": "CHANNEL_ACCOUNT",
} as const;
export type EventName = keyof typeof frameTypes;
export type FrameType = (typeof frameTypes)[EventName];

export const eventNames = Object.keys(frameTypes) as [EventName, ...EventName[]];

/** What sockets and streams send live besides events. The feed does not contain it. */
export const liveEvents = { TYPING: "conversation.typing", PRESENCE: "user.presence" } as const;

/** What `POST …/test` sends, even to an endpoint that does not subscribe to it. The feed does not contain it. */
export const testEvent = "webhook_endpoint.test";

/** Names that stand for several types in a subscription. */
export const eventGroups = {
  "*": eventNames,
  "message.status": eventNames.filter((name) => frameTypes[name] === "MESSAGE_STATUS"),
} as const satisfies Record<string, readonly EventName[]>;
export type EventGroup = keyof typeof eventGroups;

const groups: ReadonlyMap<string, readonly string[]> = new Map(Object.entries(eventGroups));

/** Whether a subscription to these types and groups includes this type. */
export function asksFor(asked: readonly string[], name: string): boolean {
  return asked.some((one) => one === name || (groups.get(one)?.includes(name) ?? false));
}

/** The scopes that an API key needs to read the feed, which contains what these scopes read. */
export const feedScopes = ["events:read", "messages:read", "conversations:read"] as const satisfies readonly Scope[];

export const cursorPattern = "^[0-9]{1,15}(-[0-9a-z]{1,6})?$";

export const maxEvents = 200;

const hidden = "Null for callers with the role member.";
const seq = Type.Integer({ description: "The message's place in its conversation." });
const text = (description: string) => Type.String({ description });
const moment = (description: string) => Type.String({ format: "date-time", description });

const messageFields = {
  message_id: uuid,
  conversation_id: uuid,
  conversation_type: nullable(ConversationType),
  sender_id: uuid,
  sender_name: nullable(text("The sender's current name.")),
  channel_account_id: nullable(text("Your account on that channel; `via` sends a reply from it.")),
  reply_to: nullable(text("The message of this conversation that it replies to.")),
};

const newMessageFields = {
  ...messageFields,
  seq,
  direction: Type.Enum(["inbound", "outbound"]),
  recipient_id: nullable(text("The other participant of a private conversation; null in a group.")),
  channel: nullable(text("The channel on which it came; null when a program or a user wrote it.")),
  address: nullable(text(`The address from which it came. ${hidden}`)),
  provider_message_id: nullable(text(`The platform's id of the message. ${hidden}`)),
  content: nullable(text("The text, or the caption of a file.")),
  payload: asIs(Payload),
  file_id: nullable(Type.String()),
  route: nullable(InboundRoute, {
    description: "Why an inbound message landed in this conversation; null for others.",
  }),
  sent_at: nullable(moment("When the person sent it, according to the platform; null when the platform does not say.")),
  created_at: moment("When the hub accepted it."),
};

const statusFields = {
  ...messageFields,
  seq: nullable(seq),
  delivery_id: uuid,
  sender_id: nullable(uuid),
  recipient_id: uuid,
  channel: text("The channel of the delivery; `app` is the hub's own."),
  address: nullable(text(`Where the delivery goes; null in the app. ${hidden}`)),
  provider_message_id: nullable(
    text(`The platform's id; for a text that was split, that of its first part. ${hidden}`),
  ),
  status: MessageStatus,
  error: nullable(DeliveryError),
  sent_at: nullable(moment("When the platform accepted it.")),
  platform_at: nullable(moment("When it reached this status, according to the platform's receipt.")),
};

const fieldsByFrame: Record<FrameType, TProperties> = {
  NEW_MESSAGE: newMessageFields,
  MESSAGE_STATUS: statusFields,
  CONVERSATION: { conversation: Conversation },
  FILE: {
    conversation_id: nullable(uuid, { description: "Where it was sent; null for a file that was not sent yet." }),
    file: File,
  },
  TASK: { task: Task },
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
    reason: nullable(text("Why it needs attention: `CREDENTIALS_INVALID` or `ACCOUNT_RESTRICTED`; else null.")),
    detail: nullable(text("What the platform said; null unless it needs attention.")),
  },
};

const frameOnly: Partial<Record<FrameType, TProperties>> = {
  NEW_MESSAGE: { timestamp: Type.Integer({ description: "`created_at` in milliseconds since the Unix epoch." }) },
};

const frames = Object.keys(fieldsByFrame) as FrameType[];

const cursor = Type.String({ description: "Opaque. Resume from here." });

function frameSchema(type: FrameType): TSchema {
  const events = eventNames.filter((name) => frameTypes[name] === type) as [EventName, ...EventName[]];
  const common = { type: Type.Enum([type]), cursor, event: Type.Enum(events), at: moment("When it was committed.") };
  return named(`${pascalCase(type)}Frame`, Type.Object({ ...common, ...fieldsByFrame[type], ...frameOnly[type] }));
}

const GapFrame = named(
  "GapFrame",
  Type.Object({ type: Type.Enum(["GAP"]), cursor, reason: Type.Enum(["expired", "unknown"]) }),
);

/** An event of the feed as in pages, streams and sockets, or the gap in its place. */
const Frame = named(
  "Frame",
  oneOf(
    "type",
    [...frames.map(frameSchema), GapFrame],
    "`event` is the type of the event, as in webhooks. Later versions may add fields and types.",
  ),
);

const EventPage = named("EventPage", Type.Object({ data: Type.Array(Frame), next_cursor: Type.String() }));

const feedCursor = Type.Optional(
  Type.String({ maxLength: 40, pattern: cursorPattern, description: "The cursor of the last event that you have." }),
);

export const events = operations("Realtime", {
  listEvents: {
    method: "GET",
    path: "/v1/events",
    summary: "Read events, or stream them",
    description:
      "The events of the conversations that you may see, oldest first: the same events in the same order as on `/ws`.\n\n" +
      "- Without `after`, a page begins with the oldest stored event. Continue with `after` = `next_cursor`. A page may hold " +
      "fewer events than `limit`, because it ends at about 1 MiB; only an empty page means that nothing more has happened.\n" +
      "- A `GAP` says that events after your cursor are no longer stored: read the current state instead.\n" +
      "- With `accept: text/event-stream`, the response is a stream of server-sent events that begins after " +
      "`last-event-id`, or `after`, or now.",
    access: { role: "member", scope: feedScopes },
    admission: "streams",
    headers: Type.Object({ "last-event-id": feedCursor }),
    query: Type.Object(
      { after: feedCursor, limit: Type.Optional(Type.Integer({ minimum: 1, maximum: maxEvents, default: 50 })) },
      closed,
    ),
    answers: { 200: EventPage },
    errors: [421, 429],
  },
});

export interface WebhookShape {
  readonly name: string;
  readonly body: TSchema;
}

const dataByFrame = new Map(
  frames.map((type): [FrameType, TSchema] => [
    type,
    named(`${pascalCase(type)}Event`, Type.Object(fieldsByFrame[type])),
  ]),
);

function webhook(name: string, data: TSchema): WebhookShape {
  const timestamp = moment("When the event was committed.");
  return { name, body: named(`${pascalCase(name)}Webhook`, Type.Object({ type: Type.Enum([name]), timestamp, data })) };
}

export const webhooks: readonly WebhookShape[] = [
  ...eventNames.map((name) => webhook(name, dataByFrame.get(frameTypes[name])!)),
  webhook(testEvent, Type.Object({ webhook_endpoint_id: uuid })),
];
