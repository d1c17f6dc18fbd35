import { Type } from "typebox";
import { showParticipant } from "../contacts/contacts.ts";
import {
  type Activity,
  type ConversationSort,
  type ConversationType,
  type GroupInbound,
  type MemberCapabilities,
  type MemberInput,
  maxLastText,
  maxUnread,
  memberBounds,
  showWindow,
} from "../conversations/conversations.ts";
import { pageQuery } from "../http/pages.ts";
import { hasScope, type Scoped, type Viewer } from "../identity/principal.ts";
import { maxTextLength } from "../messages/payload.ts";
import { nullable, time, uuid } from "./identity-schemas.ts";
import { addressText, nameText, participantFields } from "./people-schemas.ts";

const strict = { additionalProperties: false };

export const windowClosesAt = nullable(time, {
  description: "When an open window closes. For a member it is null, because it says when the person last wrote.",
});

const conversationType = Type.Unsafe<ConversationType>({ type: "string", enum: ["private", "group"] });

const settingsFields = {
  author_prefix: Type.Boolean({
    description: "In a group, members on other channels get a message with its author's name in front.",
  }),
};

/** One schema for both forms, without `anyOf`, so that a mistake is told by the form that the caller chose. */
const memberInput = Type.Unsafe<MemberInput>({
  type: ["string", "object"],
  description: "The id of a participant, or an address; an unknown one makes a contact.",
  pattern: "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$",
  required: ["address"],
  properties: { address: addressText, display_name: nameText },
  additionalProperties: false,
});

const groupInbound = Type.Unsafe<GroupInbound>({
  type: "string",
  enum: ["here", "quoted"],
  description:
    "Of groups: which messages of people on platforms land here. `here` (default): those that quote a message of the group, " +
    "and unquoted ones while it is the conversation in which the person was last addressed. `quoted`: only those that quote.",
});

/** Null takes the title away. */
const titleInput = Type.Unsafe<string | null>({ ...nameText, type: ["string", "null"] });
const settingsInput = Type.Object({ author_prefix: Type.Optional(settingsFields.author_prefix) }, strict);

export const createBody = Type.Object(
  {
    type: conversationType,
    title: Type.Optional(titleInput),
    settings: Type.Optional(settingsInput),
    inbound: Type.Optional(groupInbound),
    members: Type.Array(memberInput, { maxItems: memberBounds.group.most }),
  },
  strict,
);
export const changeBody = Type.Object(
  {
    title: Type.Optional(titleInput),
    settings: Type.Optional(settingsInput),
    inbound: Type.Optional(groupInbound),
  },
  strict,
);
export const addMemberBody = Type.Object({ member: memberInput }, strict);
export const readBody = Type.Object({ seq: Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }) }, strict);

export const conversationResource = Type.Object({
  conversation_id: uuid,
  type: conversationType,
  title: nullable(Type.String()),
  members: Type.Array(Type.Object(participantFields)),
  last_seq: Type.Integer(),
  settings: Type.Object(settingsFields),
  inbound: Type.Unsafe<GroupInbound | null>({
    ...groupInbound,
    type: ["string", "null"],
    enum: ["here", "quoted", null],
  }),
  continued_in: Type.Unsafe<string | null>({
    type: ["string", "null"],
    description:
      "Null, except after a merge of contacts that left two private conversations of the same two: then the other one, " +
      "which is used from then on. This one keeps its messages.",
  }),
  created_at: time,
  updated_at: Type.String({
    format: "date-time",
    description: "When the last message was accepted; else as created_at",
  }),
});

/** With the last message, and the number of messages that the caller has not read. */
export const listedConversation = Type.Object({
  ...conversationResource.properties,
  last_message: nullable(
    Type.Object(
      {
        message_id: uuid,
        seq: Type.Integer(),
        from: uuid,
        direction: Type.Unsafe<"outbound" | "inbound">({ type: "string", enum: ["outbound", "inbound"] }),
        payload: Type.Unknown(),
        created_at: time,
      },
      {
        description:
          `A text is cut after ${maxLastText} characters, and longer parameters of a template are left out. Null for an API ` +
          "key without messages:read.",
      },
    ),
  ),
  unread_count: nullable(
    Type.Integer({
      description:
        `Messages of others that the caller, or the workspace as which it reads, has not read, among the newest ${maxUnread}. ` +
        "Null when neither is a member.",
    }),
  ),
});

export function showActivity({ lastMessage, unreadCount }: Activity, caller: Scoped) {
  return { last_message: hasScope(caller, "messages:read") ? lastMessage : null, unread_count: unreadCount };
}

export const listQuery = Type.Object(
  {
    ...pageQuery.properties,
    contact_id: Type.Optional(uuid),
    participant_id: Type.Optional(uuid),
    channel: Type.Optional(
      Type.String({
        pattern: "^[a-z]{1,30}$",
        description: "Conversations with a member who has an address on this channel",
      }),
    ),
    updated_after: Type.Optional(
      Type.String({
        format: "date-time",
        description: "Conversations with a message after this time, or created after it",
      }),
    ),
    sort: Type.Optional(
      Type.Unsafe<ConversationSort>({ type: "string", enum: ["activity", "created"], default: "created" }),
    ),
  },
  strict,
);

export const notShownResource = Type.Object({
  not_shown: Type.Array(
    Type.Object({
      participant_id: nullable(uuid),
      channel: Type.String(),
      channel_account_id: uuid,
      code: Type.String({
        description:
          "CHANNEL_ACCOUNT_NEEDS_ATTENTION, CHANNEL_ACCOUNT_DISABLED, NOTHING_TO_ANSWER (the channel shows typing only in " +
          "answer to a message), PLATFORM_UNAVAILABLE, UNKNOWN (no answer came), RATE_LIMITED, or why the platform refuses it",
      }),
      is_retried: Type.Boolean({ description: "Whether the hub retries it until the platform takes it" }),
    }),
  ),
});

export const capabilitiesResource = Type.Object({
  conversation_id: uuid,
  members: Type.Array(
    Type.Object({
      ...participantFields,
      channels: Type.Array(
        Type.Object({
          channel: Type.String(),
          addresses: Type.Array(Type.String()),
          payloads: Type.Array(Type.String()),
          max_text_length: Type.Integer({
            description: `In UTF-16 code units; a longer text, up to ${maxTextLength}, is split.`,
          }),
          receipts: Type.Array(Type.String(), { description: "How far the platform tells what became of a message" }),
          replies: Type.Boolean(),
          typing: Type.Unsafe<"always" | "answer" | "never">({
            type: "string",
            enum: ["always", "answer", "never"],
            description: "Whether typing is shown there: at any time, or only in answer to a message of the person",
          }),
          read_marks: Type.Boolean({ description: "Whether the person sees that their messages were read" }),
          window: Type.Object({
            state: Type.Unsafe<"none" | "open" | "closed">({ type: "string", enum: ["none", "open", "closed"] }),
            closes_at: windowClosesAt,
          }),
        }),
      ),
    }),
  ),
});

export function showCapabilities(conversationId: string, members: MemberCapabilities[], viewer: Viewer) {
  return {
    conversation_id: conversationId,
    members: members.map((member) => {
      const shown = showParticipant(member, viewer);
      const channels = member.channels.map(({ window, ...channel }) => ({
        ...showChannel(channel, shown.addresses.length > 0),
        window: showWindow(window, viewer, member.participantId),
      }));
      return { ...shown, channels };
    }),
  };
}

function showChannel(
  { channel, addresses, payloads, ...rest }: Omit<MemberCapabilities["channels"][number], "window">,
  areAddressesShown: boolean,
) {
  const { maxTextLength, receipts, replies, typing, readMarks } = rest;
  return {
    channel,
    addresses: areAddressesShown ? addresses : [],
    payloads: [...payloads],
    max_text_length: maxTextLength,
    receipts: [...receipts],
    replies,
    typing,
    read_marks: readMarks,
  };
}
