import { Type } from "typebox";
import { operations } from "./operation.ts";
import { PayloadPreview } from "./payloads.ts";
import { addressText, channelPattern, nameText, participantFields } from "./people.ts";
import { asIs, closed, named, nullable, pageOf, pageQuery, time, uuid, uuidPattern } from "./schemas.ts";

export const memberBounds = { private: { least: 2, most: 2 }, group: { least: 3, most: 100 } } as const;
export const maxUnread = 100;
/** Longest text of a message in a list of conversations, in characters. */
export const maxLastText = 1_000;

export const ConversationType = named("ConversationType", Type.Enum(["private", "group"]));
const groupInbound = named(
  "GroupInbound",
  Type.Enum(["here", "quoted"], {
    description:
      "Which messages of people on platforms land in a group. `here` (default): those that quote a message of the group, and " +
      "unquoted ones while the group is the conversation in which the person was last addressed. `quoted`: only those that quote.",
  }),
);
const settingsFields = {
  author_prefix: Type.Boolean({
    description: "In a group, members on other channels get a message with its author's name in front.",
  }),
};

const Participant = named("Participant", Type.Object(participantFields), {
  participant_id: "0192f5c4-7d1e-7b3a-9c55-0a8e4f1d2b3c",
  kind: "contact",
  display_name: "Ana Souza",
  channels: ["whatsapp"],
  addresses: ["whatsapp:+5511999991111"],
});

const conversationFields = {
  conversation_id: uuid,
  type: ConversationType,
  title: nullable(Type.String()),
  members: Type.Array(Participant),
  last_seq: Type.Integer(),
  settings: Type.Object(settingsFields),
  inbound: nullable(groupInbound),
  continued_in: nullable(uuid, {
    description:
      "Null, unless a merge of contacts left two private conversations of the same two participants: then the other one, " +
      "which is used from then on. This one keeps its messages.",
  }),
  created_at: time,
  updated_at: Type.String({
    format: "date-time",
    description: "When the last message was accepted, else `created_at`.",
  }),
};

export const Conversation = named("Conversation", Type.Object(conversationFields));

const LastMessage = named(
  "LastMessage",
  Type.Object({
    message_id: uuid,
    seq: Type.Integer(),
    from: uuid,
    direction: Type.Enum(["outbound", "inbound"]),
    payload: asIs(PayloadPreview),
    created_at: time,
  }),
);

const ListedConversation = named(
  "ListedConversation",
  Type.Object(
    {
      ...conversationFields,
      last_message: nullable(LastMessage, {
        description:
          `A text is cut after ${maxLastText} characters, and longer parameters of a template are left out. Null for an API ` +
          "key without `messages:read`.",
      }),
      unread_count: nullable(
        Type.Integer({
          description:
            "Messages of others that are not read yet (by the caller, or by the workspace if the caller reads as the workspace), among the newest " +
            `${maxUnread}. Null when neither is a member.`,
        }),
      ),
    },
    { description: "The conversation, with its last message." },
  ),
);

export type MemberInput = string | { address: string; display_name?: string };

/** One schema for both forms, without `anyOf`, so that an error names the form that the caller chose. */
const memberInput = named(
  "MemberInput",
  Type.Unsafe<MemberInput>({
    type: ["string", "object"],
    description: "The id of a participant, or an address. An unknown address creates a contact.",
    pattern: uuidPattern,
    required: ["address"],
    properties: { address: addressText, display_name: nameText },
    additionalProperties: false,
  }),
);

const changeableFields = {
  title: Type.Optional(nullable(nameText)),
  settings: Type.Optional(Type.Object({ author_prefix: Type.Optional(settingsFields.author_prefix) }, closed)),
  inbound: Type.Optional(groupInbound),
};

const NewConversation = named(
  "NewConversation",
  Type.Object(
    {
      type: ConversationType,
      ...changeableFields,
      members: Type.Array(memberInput, { maxItems: memberBounds.group.most }),
    },
    closed,
  ),
  { type: "private", members: [{ address: "whatsapp:+5511999991111", display_name: "Ana Souza" }] },
);

const windowState = Type.Enum(["none", "open", "closed"]);
export const messagingWindow = named(
  "MessagingWindow",
  Type.Object({
    state: windowState,
    closes_at: nullable(time, {
      description:
        "When an open window closes. Null for callers with the role member: it shows when the person last wrote.",
    }),
  }),
);

const ChannelCapabilities = named(
  "ChannelCapabilities",
  Type.Object({
    channel: Type.String(),
    addresses: Type.Array(Type.String()),
    payloads: Type.Array(Type.String()),
    max_text_length: Type.Integer({ description: "In UTF-16 code units; a longer text is split." }),
    media: Type.Array(
      Type.Object({
        kind: Type.String({ description: "As the platform calls it." }),
        content_types: nullable(Type.Array(Type.String()), { description: "Null: all." }),
        max_size: Type.Integer({ description: "Bytes." }),
        max_caption_length: Type.Integer({ description: "A longer caption is sent as a text before the file." }),
      }),
      {
        description:
          "As what it takes files, the first that fits. All others are sent as a link. Empty in the app, which takes all.",
      },
    ),
    receipts: Type.Array(Type.String(), { description: "The receipts that the platform sends." }),
    replies: Type.Boolean(),
    typing: Type.Enum(["always", "answer", "never"], {
      description: "When typing is shown: always, or only in reply to a message of the person.",
    }),
    read_marks: Type.Boolean({ description: "Whether the person sees that their messages were read." }),
    window: messagingWindow,
  }),
);

const Capabilities = named(
  "ConversationCapabilities",
  Type.Object({
    conversation_id: uuid,
    members: Type.Array(Type.Object({ ...participantFields, channels: Type.Array(ChannelCapabilities) })),
  }),
);

const NotShown = named(
  "NotShown",
  Type.Object(
    {
      not_shown: Type.Array(
        Type.Object({
          participant_id: nullable(uuid),
          channel: Type.String(),
          channel_account_id: uuid,
          code: Type.String({
            description:
              "`CHANNEL_ACCOUNT_NEEDS_ATTENTION`, `CHANNEL_ACCOUNT_DISABLED`, `NOTHING_TO_ANSWER` (the channel shows typing only in " +
              "reply to a message), `PLATFORM_UNAVAILABLE`, `UNKNOWN` (no response arrived), `RATE_LIMITED`, or why the platform refuses it.",
          }),
          is_retried: Type.Boolean({ description: "Whether the hub retries it until the platform accepts it." }),
        }),
      ),
    },
    { description: "To whom it is not shown, and why." },
  ),
);

const read = { role: "member", scope: "conversations:read" } as const;
const write = { role: "member", scope: "conversations:write" } as const;

/** A member sees the conversations it is in; agents and admins see all of the workspace. */
export const conversations = operations("Conversations", {
  createConversation: {
    method: "POST",
    path: "/v1/conversations",
    summary: "Create a conversation",
    description:
      "Name all members: a private conversation has exactly 2, a group 3 to 100. If one member is wrong, nothing is created.\n\n" +
      "- A caller with the role `member` must be among them, and may name only users and the workspace (403).\n" +
      "- A private conversation of the same two participants exists once, and is returned with 200. If a merge of contacts " +
      "left two, it is the one that the other names as `continued_in`.\n" +
      "- An API key may name only the other participant: the workspace is added or, for a member's key, that user.",
    access: write,
    idempotent: true,
    body: NewConversation,
    answers: { 200: Conversation, 201: Conversation },
    errors: [409],
  },
  listConversations: {
    method: "GET",
    path: "/v1/conversations",
    summary: "List conversations, newest first",
    description:
      "Sorted by creation (`sort=created`, default) or by the last message (`activity`). A cursor belongs to the filters and the " +
      "order of its first page (400 with others). A conversation that becomes active meanwhile moves to the front.",
    access: read,
    query: Type.Object(
      {
        ...pageQuery,
        contact_id: Type.Optional(uuid),
        participant_id: Type.Optional(uuid),
        channel: Type.Optional(
          Type.String({
            pattern: channelPattern,
            description: "Conversations with a member who has an address on this channel.",
          }),
        ),
        updated_after: Type.Optional(
          Type.String({
            format: "date-time",
            description: "Conversations with a message after this time, or created after it.",
          }),
        ),
        sort: Type.Optional(Type.Enum(["activity", "created"], { default: "created" })),
      },
      closed,
    ),
    answers: { 200: pageOf(ListedConversation) },
  },
  getConversation: {
    method: "GET",
    path: "/v1/conversations/{id}",
    summary: "Get a conversation",
    access: read,
    answers: { 200: ListedConversation },
  },
  updateConversation: {
    method: "PATCH",
    path: "/v1/conversations/{id}",
    summary: "Update the title, settings or inbound rule of a conversation",
    description:
      "Only the fields in the body change; null removes the title. Changing `inbound` requires the role `agent`.",
    access: write,
    body: named("ConversationChange", Type.Object(changeableFields, closed), { title: "Order 4711" }),
    answers: { 200: Conversation },
  },
  getConversationCapabilities: {
    method: "GET",
    path: "/v1/conversations/{id}/capabilities",
    summary: "Get what can be sent to each member, by channel",
    access: read,
    answers: { 200: Capabilities },
  },
  addMember: {
    method: "POST",
    path: "/v1/conversations/{id}/members",
    summary: "Add a member to a group",
    description:
      "Any member, agent or admin may do so; callers with the role member may add only users (403). The new member sees " +
      "earlier messages.",
    access: write,
    idempotent: true,
    body: named("NewMember", Type.Object({ member: memberInput }, closed), {
      member: { address: "telegram:123456789", display_name: "Bruno" },
    }),
    answers: { 201: Conversation },
    errors: [409],
  },
  removeMember: {
    method: "DELETE",
    path: "/v1/conversations/{id}/members/{participant_id}",
    summary: "Remove a member from a group",
    description:
      "Agents and admins remove members; members leave by removing themselves. The conversation is then closed to the " +
      "removed member. The last member cannot be removed (409).",
    access: write,
    answers: { 204: null },
    errors: [409],
  },
  markConversationRead: {
    method: "POST",
    path: "/v1/conversations/{id}/read",
    summary: "Mark all messages up to one as read",
    description:
      "The caller reads as itself if it is a member; otherwise agents and admins read as the workspace. A lower `seq` than before changes " +
      "nothing.\n\n" +
      "- 204: the platforms that show read marks (see `read_marks` of the capabilities) have accepted them.\n" +
      "- 202: the mark is stored, and `not_shown` says which platform has not accepted it yet, and why.",
    access: write,
    shows: ["not_shown"],
    body: named(
      "ReadMark",
      Type.Object({ seq: Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }) }, closed),
      { seq: 17 },
    ),
    answers: { 204: null, 202: NotShown },
  },
  showTyping: {
    method: "POST",
    path: "/v1/conversations/{id}/typing",
    summary: "Show that the caller is typing",
    description:
      "Sent to the sockets that receive the conversation, and to the platforms where the caller's next message would " +
      "go, at most once in 4 seconds for each participant in a conversation.\n\n" +
      "- 204: the platforms that can show it (see `typing` of the capabilities) have accepted it.\n" +
      "- 202: `not_shown` says where it is not shown, and why.\n\n" +
      "Where typing is shown only in reply to a message, that message is marked as read.",
    access: write,
    shows: ["not_shown"],
    body: named("TypingSignal", Type.Object({}, closed)),
    isBodyOptional: true,
    answers: { 204: null, 202: NotShown },
  },
});
