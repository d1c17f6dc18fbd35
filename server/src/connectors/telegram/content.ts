import type { MessagePayload } from "../../../../contract/src/payloads.ts";
import { isObject } from "../../lib/json.ts";
import { locationOf, namedText, textOf } from "../inbound.ts";
import { type Json, listAt, numberAt, objectAt, textAt } from "../json.ts";

interface Content {
  payload: MessagePayload;
  formerChatId: string;
}

/**
 * The content of a `Message`, or the name of a field that is no content. Content without a payload of the hub becomes a
 * text with its kind, such as `[photo] caption`. Source: Telegram Bot API, type `Message`.
 */
export function contentOf(message: Json): Content | string {
  const formerChatId = textAt(message, "migrate_from_chat_id");
  if (formerChatId !== "") return { payload: namedText("the group became a supergroup"), formerChatId };
  const kind = kinds.find((key) => key in message);
  if (kind !== undefined) return { payload: payloadOf(kind, message), formerChatId: "" };
  const other = Object.keys(message).find((key) => !envelope.has(key)) ?? "empty message";
  if (isServiceMessage(other)) return other;
  return { payload: namedText(other.replaceAll("_", " "), textAt(message, "caption")), formerChatId: "" };
}

/** The more specific field first: an animation has a document of the same file, a venue a location. */
const kinds = [
  "text",
  "venue",
  "location",
  "animation",
  "photo",
  "video",
  "video_note",
  "voice",
  "audio",
  "document",
  "sticker",
  "contact",
  "poll",
  "dice",
] as const;

function payloadOf(kind: (typeof kinds)[number], message: Json): MessagePayload {
  const object = objectAt(message, kind);
  const caption = textAt(message, "caption");
  const named = (name: string, detail: string) => namedText(detail === "" ? name : `${name} ${detail}`, caption);
  switch (kind) {
    case "text":
      return textOf(textAt(message, "text"));
    case "venue": {
      const name = [textAt(object, "title"), textAt(object, "address")].filter(Boolean).join(", ");
      return placeOf(objectAt(object, "location"), name);
    }
    case "location":
      return placeOf(object, "");
    case "photo":
    case "video":
    case "animation":
      return namedText(kind, caption);
    case "video_note":
      return namedText("video note");
    case "voice":
      return namedText("voice message", caption);
    case "audio":
      return named("audio", textAt(object, "title") || textAt(object, "file_name"));
    case "document":
      return named("document", textAt(object, "file_name"));
    case "sticker":
      return named("sticker", textAt(object, "emoji"));
    case "contact": {
      const card = ["first_name", "last_name", "phone_number"].map((key) => textAt(object, key));
      return namedText("contact", card.filter(Boolean).join(" "));
    }
    case "poll": {
      const options = listAt(object, "options").filter(isObject);
      return namedText(
        "poll",
        [textAt(object, "question"), ...options.map((each) => textAt(each, "text"))].join(" / "),
      );
    }
    case "dice":
      return named("dice", `${textAt(object, "emoji")} ${textAt(object, "value")}`.trim());
    default:
      return kind satisfies never;
  }
}

function placeOf(location: Json, name: string): MessagePayload {
  return locationOf(numberAt(location, "latitude"), numberAt(location, "longitude"), name);
}

const envelope = new Set([
  "message_id",
  "message_thread_id",
  "direct_messages_topic",
  "from",
  "sender_chat",
  "sender_boost_count",
  "sender_business_bot",
  "date",
  "business_connection_id",
  "chat",
  "forward_origin",
  "is_topic_message",
  "is_automatic_forward",
  "reply_to_message",
  "external_reply",
  "quote",
  "reply_to_story",
  "via_bot",
  "edit_date",
  "has_protected_content",
  "is_from_offline",
  "is_paid_post",
  "media_group_id",
  "author_signature",
  "entities",
  "caption_entities",
  "caption",
  "link_preview_options",
  "effect_id",
  "show_caption_above_media",
  "has_media_spoiler",
  "reply_markup",
]);

function isServiceMessage(key: string): boolean {
  return key === "empty message" || serviceFields.test(key);
}

const serviceFields =
  /^(new_chat_|left_chat_|delete_chat_|group_chat_|supergroup_chat_|channel_chat_|message_auto_delete_|migrate_to_|pinned_message|forum_topic_|general_forum_|video_chat_|giveaway_|boost_added|chat_background_|write_access_|proximity_|connected_website|successful_payment|refunded_payment|users_shared|chat_shared)/;
