import { type Answer, json, type Refusal, receive, retryAfterSeconds, runCall } from "../calls.ts";
import type { Fault } from "../faults.ts";
import { isRecord } from "../fields.ts";
import type { ReceivedMedia } from "../messages.ts";
import type { BotCall } from "./bot-api.ts";
import { BotError, badRequest, toAnswer, tooManyRequests } from "./bot-error.ts";
import { botUser, privateChat, readChat } from "./chats.ts";
import { parseMarkup } from "./markup.ts";
import { nextMessageId } from "./state.ts";

/** Longest text, in characters after markup is parsed. Source: Telegram Bot API, `sendMessage`. */
const maxTextLength = 4096;

const chatActions = new Set(
  (
    "typing upload_photo record_video upload_video record_voice upload_voice upload_document choose_sticker " +
    "find_location record_video_note upload_video_note"
  ).split(" "),
);

/** `part`: the fields of the message that show it. */
export interface Content {
  kind: string;
  text: string | null;
  part: Record<string, unknown>;
  media?: ReceivedMedia;
}

export function sendMessage(call: BotCall): Answer | Promise<Answer> {
  return send(call, () => {
    const { parameters } = call;
    const given = parameters.text("text") ?? "";
    const { text, entities } = parseMarkup(given, parameters.text("parse_mode"), parameters.json("entities"));
    if (text.trim() === "") throw badRequest("message text is empty");
    if (text.length > maxTextLength && [...text].length > maxTextLength) throw badRequest("message is too long");
    return { kind: "text", text, part: entities.length > 0 ? { text, entities } : { text } };
  });
}

export function sendLocation(call: BotCall): Answer | Promise<Answer> {
  return send(call, () => ({ kind: "location", text: null, part: { location: readPlace(call) } }));
}

export function sendVenue(call: BotCall): Answer | Promise<Answer> {
  return send(call, () => {
    const location = readPlace(call);
    const title = call.parameters.text("title") ?? "";
    const address = call.parameters.text("address") ?? "";
    if (title === "") throw badRequest("VENUE_TITLE_EMPTY");
    return { kind: "location", text: title, part: { location, venue: { location, title, address } } };
  });
}

function readPlace({ parameters }: BotCall): { latitude: number; longitude: number } {
  const latitude = parameters.float("latitude");
  const longitude = parameters.float("longitude");
  if (latitude === undefined || !(Math.abs(latitude) <= 90)) throw badRequest("invalid latitude specified");
  if (longitude === undefined || !(Math.abs(longitude) <= 180)) throw badRequest("invalid longitude specified");
  return { latitude, longitude };
}

/** `setMessageReaction`: kept as a message of kind `reaction` whose id is that of its target. */
export function setMessageReaction(call: BotCall): Answer | Promise<Answer> {
  return runCall(call.state.world, rules, chatName(call), () => {
    const { state, account, parameters } = call;
    const chat = readChat(state, account, parameters);
    const target = parameters.integer("message_id");
    if (target === undefined) throw badRequest("message_id is empty");
    if (!exists(call, chat, target)) throw badRequest("message to react not found");
    const reaction = parameters.json("reaction") ?? [];
    if (!Array.isArray(reaction) || reaction.length > 1) throw badRequest("REACTION_INVALID");
    const emoji = reaction.map((one) => (isRecord(one) && one.type === "emoji" ? one.emoji : undefined))[0] ?? "";
    const isKnown = typeof emoji === "string" && (reaction.length === 0 || reactionEmoji.has(emoji));
    if (!isKnown) throw badRequest("REACTION_INVALID");
    record(call, chat, target, { kind: "reaction", text: emoji, part: {} });
    return json(200, { ok: true, result: true });
  });
}

/** `sendChatAction`: the request is checked, and the action `typing` is kept as a signal. */
export function sendChatAction({ state, account, parameters }: BotCall): Answer {
  const chat = readChat(state, account, parameters);
  const action = parameters.text("action") ?? "";
  if (!chatActions.has(action)) throw badRequest("wrong parameter action in request");
  if (action === "typing") {
    const received_at = new Date(state.world.now()).toISOString();
    const signal = { channel: "telegram", account: account.id, to: String(chat), provider_message_id: null };
    state.world.signals.add({ ...signal, kind: "typing", received_at });
  }
  return json(200, { ok: true, result: true });
}

/** Sends what `readContent` reads; it throws what the platform refuses. */
export function send(call: BotCall, readContent: () => Content | Promise<Content>): Promise<Answer> {
  const { state, account, parameters } = call;
  return runCall(state.world, rules, chatName(call), async () => {
    const chat = readChat(state, account, parameters);
    const content = await readContent();
    const quoted = readReply(call, chat);
    const { throughput_per_second } = state.world.settings.of("telegram");
    if (!state.throughput(account.id, throughput_per_second)) throw tooManyRequests(1);
    const messageId = nextMessageId(state, account.id, String(chat));
    const message = {
      message_id: messageId,
      from: botUser(account),
      chat: privateChat(state, chat),
      date: Math.floor(state.world.now() / 1000),
      ...content.part,
    };
    record(call, chat, messageId, content);
    state.recent.set(`${account.id} ${chat} ${messageId}`, message);
    return json(200, { ok: true, result: quoted ? { ...message, reply_to_message: quoted } : message });
  });
}

function record({ state, account, parameters }: BotCall, chat: number, messageId: number, content: Content): void {
  const { world } = state;
  const { kind, text, media = null } = content;
  const key = `${account.id} ${chat} ${kind === "reaction" ? `reaction ${world.messages.nextIndex}` : messageId}`;
  const message = {
    channel: "telegram",
    account: account.id,
    to: String(chat),
    provider_message_id: String(messageId),
    kind,
    text,
    media,
    raw: parameters.raw,
    received_at: new Date(world.now()).toISOString(),
  };
  receive(world, message, key, { webhooks: 0, value: null });
}

/** The message that is replied to, as `reply_to_message` shows it. Source: Telegram Bot API, available methods. */
function readReply(call: BotCall, chat: number): Record<string, unknown> | undefined {
  const { state, account, parameters } = call;
  const given = parameters.json("reply_parameters");
  const id = isRecord(given) ? Number(given.message_id) : parameters.integer("reply_to_message_id");
  if (id === undefined) return undefined;
  if (exists(call, chat, id)) {
    return (
      state.recent.get(`${account.id} ${chat} ${id}`) ?? { message_id: id, chat: privateChat(state, chat), date: 0 }
    );
  }
  const mayLack = isRecord(given)
    ? /^(?:true|1)$/i.test(String(given.allow_sending_without_reply))
    : parameters.flag("allow_sending_without_reply");
  if (mayLack) return undefined;
  throw badRequest("message to be replied not found");
}

/** Whether the chat has such a message. Nothing is ever deleted, so every id up to the last exists. */
function exists({ state, account }: BotCall, chat: number, id: number): boolean {
  return id >= 1 && id <= (state.lastMessageId.get(`${account.id} ${chat}`) ?? 0);
}

function chatName({ parameters }: BotCall): string | undefined {
  return parameters.text("chat_id")?.trim();
}

export const rules = {
  channel: "telegram",
  call: "send",
  refuse: (refusal: Refusal, fault: Fault | undefined) => toAnswer(refusalError(refusal, fault)),
} as const;

function refusalError(refusal: Refusal, fault: Fault | undefined): BotError {
  switch (refusal) {
    case "rate_limit":
      return tooManyRequests(retryAfterSeconds(fault));
    case "server_error":
      return new BotError(500, "Internal Server Error");
    case "permanent":
      return new BotError(403, "Forbidden: bot was blocked by the user");
    case "overloaded":
      return tooManyRequests(1);
  }
}

/** The emoji that a bot may react with. Source: Telegram Bot API, `ReactionTypeEmoji`. */
const reactionEmoji: ReadonlySet<string> = new Set(
  (
    "❤ 👍 👎 🔥 🥰 👏 😁 🤔 🤯 😱 🤬 😢 🎉 🤩 🤮 💩 🙏 👌 🕊 🤡 🥱 🥴 😍 🐳 ❤‍🔥 🌚 🌭 💯 🤣 ⚡ 🍌 🏆 💔 🤨 😐 🍓 🍾 💋 🖕 😈 " +
    "😴 😭 🤓 👻 👨‍💻 👀 🎃 🙈 😇 😨 🤝 ✍ 🤗 🫡 🎅 🎄 ☃ 💅 🤪 🗿 🆒 💘 🙉 🦄 😘 💊 🙊 😎 👾 🤷‍♂ 🤷 🤷‍♀ 😡"
  ).split(" "),
);
