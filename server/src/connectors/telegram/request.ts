import { lengthOf } from "../call.ts";
import type { OutboundFile, OutboundPart } from "../connector.ts";
import { messageIdIn } from "./identifier.ts";
import { mediaFields, type mediaKinds } from "./media.ts";

export interface MethodCall {
  readonly method: "sendMessage" | "sendLocation" | "sendVenue" | "setMessageReaction" | "sendChatAction";
  readonly parameters: object;
  /** The parameters without message text, for the trace. */
  readonly redacted: object;
}

/** Null for a payload that cannot be sent, or a reaction to an unknown message. Source: Bot API, Available methods. */
export function methodCall(part: OutboundPart): MethodCall | null {
  const { payload } = part;
  const chat_id = Number(part.identifier);
  switch (payload.type) {
    case "text": {
      const head = { chat_id, ...quoteOf(part) };
      const text = payload.text.toWellFormed();
      return {
        method: "sendMessage",
        parameters: { ...head, text },
        redacted: { ...head, text: lengthOf(text) },
      };
    }
    case "location": {
      const head = { chat_id, ...quoteOf(part) };
      const { latitude, longitude, name } = payload;
      const place = { latitude, longitude, ...(name && venueOf(name, latitude, longitude)) };
      return {
        method: name ? "sendVenue" : "sendLocation",
        parameters: { ...head, ...place },
        redacted: { ...head, location: "[a place]" },
      };
    }
    case "reaction": {
      const message_id = messageIdIn(part.identifier, part.targetProviderMessageId ?? "");
      if (message_id === null) return null;
      const head = { chat_id, message_id };
      return {
        method: "setMessageReaction",
        parameters: { ...head, reaction: reactionsOf(payload.emoji) },
        redacted: { ...head, reaction: lengthOf(payload.emoji) },
      };
    }
    case "template":
    case "file":
      return null;
    default:
      return payload satisfies never;
  }
}

/** The fields of the form beside the file. Source: Bot API, Sending files. */
export function fileCall(
  part: OutboundPart,
  file: OutboundFile,
  { method }: (typeof mediaKinds)[number],
): { method: string; fields: Record<string, string>; redacted: object } {
  const { payload, identifier } = part;
  const quote = quoteOf(part);
  const quoted: Record<string, string> =
    quote === null ? {} : { reply_parameters: JSON.stringify(quote.reply_parameters) };
  const caption = payload.type === "file" ? (payload.caption ?? "") : "";
  const fields = { ...mediaFields(identifier, caption), ...quoted };
  const redacted = { chat_id: Number(identifier), ...quote, file: `[${file.contentType}, ${file.bytes} bytes]` };
  return {
    method,
    fields,
    redacted: fields.caption === undefined ? redacted : { ...redacted, caption: lengthOf(fields.caption) },
  };
}

function quoteOf({ identifier, quotedProviderMessageId, partIndex }: OutboundPart) {
  if (quotedProviderMessageId === null || partIndex > 0) return null;
  const message_id = messageIdIn(identifier, quotedProviderMessageId);
  return message_id === null ? null : { reply_parameters: { message_id, allow_sending_without_reply: true } };
}

function venueOf(name: string, latitude: number, longitude: number) {
  return { title: name.toWellFormed(), address: `${latitude}, ${longitude}` };
}

/** Telegram's emoji have no U+FE0F, which other platforms add to ❤ and similar ones. */
function reactionsOf(emoji: string) {
  return emoji === "" ? [] : [{ type: "emoji", emoji: emoji.replaceAll("\ufe0f", "") }];
}
