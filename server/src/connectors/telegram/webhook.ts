import { isObject } from "../../lib/json.ts";
import { cleanId } from "../clean.ts";
import type { InboundEvent, WebhookRequest } from "../connector.ts";
import { isSameSecret } from "../equal.ts";
import { ignored, namedText, nameOf, reactionOf, textOf, timeOf } from "../inbound.ts";
import { type Json, listAt, numberAt, objectAt, parseWebhookBody, textAt } from "../json.ts";
import type { PlatformFile } from "../media.ts";
import { contentOf } from "./content.ts";
import type { TelegramCredentials } from "./credentials.ts";
import { messageKey, parseIdentifier } from "./identifier.ts";
import { fileOf } from "./media.ts";

/** Telegram does not sign: only the secret in the header identifies its calls. */
export function verify({ headers }: WebhookRequest, { secret_token }: TelegramCredentials): boolean {
  return isSameSecret(headers["x-telegram-bot-api-secret-token"], secret_token);
}

export function parse({ rawBody }: WebhookRequest): InboundEvent[] {
  const update = parseWebhookBody(rawBody);
  return [update === null ? ignored("a body that is not a JSON object, or is too large") : parseUpdate(update)];
}

function parseUpdate(update: Json): InboundEvent {
  const kind = Object.keys(update).find((key) => key !== "update_id") ?? "update without content";
  const object = objectAt(update, kind);
  switch (kind) {
    case "message":
      return parseMessage(object);
    case "callback_query":
      return parseCallback(object);
    case "message_reaction":
      return parseReaction(object, textAt(update, "update_id"));
    case "my_chat_member":
      return ignored(`my_chat_member ${textAt(objectAt(object, "new_chat_member"), "status")}`);
    default:
      return ignored(kind);
  }
}

function parseMessage(message: Json): InboundEvent {
  const chat = objectAt(message, "chat");
  const content = contentOf(message);
  if (typeof content === "string") return ignored(content);
  const quoted = textAt(objectAt(message, "reply_to_message"), "message_id");
  return messageEvent({
    chat,
    sender: objectAt(message, "from"),
    messageId: textAt(message, "message_id"),
    payload: content.payload,
    file: fileOf(message),
    aliases: content.formerChatId === "" ? [] : [content.formerChatId],
    quoted,
    at: numberAt(message, "date"),
  });
}

function parseCallback(query: Json): InboundEvent {
  const message = objectAt(query, "message");
  const sender = objectAt(query, "from");
  const data = textAt(query, "data");
  const rows = listAt(objectAt(message, "reply_markup"), "inline_keyboard");
  const buttons = rows.flatMap((row) => (Array.isArray(row) ? row.filter(isObject) : []));
  const label = buttons.find((button) => data !== "" && button.callback_data === data)?.text;
  const chat = objectAt(message, "chat");
  return messageEvent({
    chat: textAt(chat, "id") === "" ? sender : chat,
    sender,
    messageId: `callback:${textAt(query, "id")}`,
    payload: textOf(typeof label === "string" ? label : data),
    quoted: textAt(message, "message_id"),
    at: Number.NaN,
  });
}

/** The person's reactions after a change: the one that was added, else the last one left. */
function parseReaction(reaction: Json, updateId: string): InboundEvent {
  const chat = objectAt(reaction, "chat");
  const target = textAt(reaction, "message_id");
  const before = listAt(reaction, "old_reaction").filter(isObject).map(emojiOf);
  const after = listAt(reaction, "new_reaction").filter(isObject).map(emojiOf);
  const emoji = after.findLast((each) => !before.includes(each)) ?? after.at(-1) ?? "";
  return messageEvent({
    chat,
    sender: objectAt(reaction, "user"),
    messageId: `${target}:reaction:${updateId}`,
    payload: emoji === customEmoji ? namedText("custom emoji") : reactionOf(emoji, target),
    quoted: target,
    at: numberAt(reaction, "date"),
  });
}

const customEmoji = "custom";

function emojiOf(reaction: Json): string {
  const type = textAt(reaction, "type");
  if (type === "emoji") return textAt(reaction, "emoji");
  return type === "paid" ? "⭐" : customEmoji;
}

/** The participant is the chat, even of a group, since a bot can reply only there; its texts name the author. */
function messageEvent(facts: {
  chat: Json;
  sender: Json;
  messageId: string;
  payload: Extract<InboundEvent, { kind: "message" }>["payload"];
  file?: PlatformFile | null;
  aliases?: string[];
  quoted: string;
  at: number;
}): InboundEvent {
  const identifier = parseIdentifier(textAt(facts.chat, "id"));
  if (identifier === null || cleanId(facts.messageId) === "") return ignored("a message without chat or id");
  const isGroup = identifier.startsWith("-");
  const author = fullName(facts.sender);
  const isAuthored = isGroup && author !== "" && facts.payload.type === "text";
  return {
    kind: "message",
    providerMessageId: messageKey(identifier, facts.messageId),
    identifier,
    aliases: (facts.aliases ?? []).map(parseIdentifier).filter((alias) => alias !== null),
    displayName: nameOf(isGroup ? textAt(facts.chat, "title") : author || fullName(facts.chat)),
    payload: isAuthored && facts.payload.type === "text" ? textOf(`${author}: ${facts.payload.text}`) : facts.payload,
    ...(facts.file && { file: isGroup ? withAuthor(facts.file, author) : facts.file }),
    quotedProviderMessageId: cleanId(facts.quoted) === "" ? null : messageKey(identifier, facts.quoted),
    at: timeOf(facts.at),
  };
}

function withAuthor(file: PlatformFile, author: string): PlatformFile {
  return author === "" ? file : { ...file, caption: `${author}: ${file.caption}`.trimEnd() };
}

function fullName(person: Json): string {
  const name = [textAt(person, "first_name"), textAt(person, "last_name")].filter(Boolean).join(" ");
  return name || textAt(person, "username");
}
