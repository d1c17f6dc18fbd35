import type { Inbound, InboundPayload } from "../face.ts";
import { invalid, Problem } from "../problem.ts";
import type { TelegramAccount } from "./account.ts";
import { botUser, canStart, personUser, privateChat } from "./chats.ts";
import { nextMessageId, type PersonName, type TelegramState } from "./state.ts";
import { sendUpdate } from "./updates.ts";
import { wantsUpdate } from "./webhook.ts";

/** A person writes to the bot, or reacts: one update. Source: Telegram Bot API, getting updates. */
export function personWrites(state: TelegramState, account: TelegramAccount, input: Inbound): Record<string, unknown> {
  const chat = Number(input.person);
  if (!canStart(chat)) throw invalid(`from "${input.person}" can never start a bot; the README lists such ids`);
  if (input.name !== undefined) state.names.set(String(chat), splitName(input.name));
  const date = Math.floor(state.world.now() / 1000);
  if (input.payload.type === "reaction") return react(state, account, chat, date, input.payload);

  refuseUnwanted(account, "message");
  const messageId = nextMessageId(state, account.id, String(chat));
  const message = {
    message_id: messageId,
    from: personUser(state, chat),
    chat: privateChat(state, chat),
    date,
    ...contentOf(state, input.payload),
  };
  state.recent.set(`${account.id} ${chat} ${messageId}`, message);
  const quoted = input.replyTo === undefined ? undefined : quote(state, account, chat, input.replyTo);
  const update_id = sendUpdate(state, account, chat, {
    message: quoted ? { ...message, reply_to_message: quoted } : message,
  });
  return { provider_message_id: String(messageId), update_id };
}

/** A person blocks the bot or takes it back. Source: Telegram Bot API, getting updates. */
export function personBlocks(state: TelegramState, account: TelegramAccount, person: string, blocked: boolean): void {
  const chat = Number(person);
  const name = `${account.id} ${chat}`;
  if (state.blocked.has(name) === blocked) return;
  if (blocked) state.blocked.set(name, true);
  else state.blocked.delete(name);
  if (!wantsUpdate(account, "my_chat_member")) return;
  const user = botUser(account);
  const member = { user, status: "member" };
  const kicked = { user, status: "kicked", until_date: 0 };
  sendUpdate(state, account, chat, {
    my_chat_member: {
      chat: privateChat(state, chat),
      from: personUser(state, chat),
      date: Math.floor(state.world.now() / 1000),
      old_chat_member: blocked ? member : kicked,
      new_chat_member: blocked ? kicked : member,
    },
  });
}

function react(
  state: TelegramState,
  account: TelegramAccount,
  chat: number,
  date: number,
  { message_id, emoji }: InboundPayload & { type: "reaction" },
): Record<string, unknown> {
  refuseUnwanted(account, "message_reaction");
  const id = messageIdIn(message_id);
  const update_id = sendUpdate(state, account, chat, {
    message_reaction: {
      chat: privateChat(state, chat),
      message_id: id,
      user: personUser(state, chat),
      date,
      old_reaction: [],
      new_reaction: emoji === "" ? [] : [{ type: "emoji", emoji }],
    },
  });
  return { provider_message_id: String(id), update_id };
}

/** A platform never sends updates that the bot did not ask for: an error is better than a test that waits for one. */
function refuseUnwanted(account: TelegramAccount, kind: string): void {
  if (wantsUpdate(account, kind)) return;
  throw new Problem(
    409,
    "CONFLICT",
    `the bot gets no ${kind}: setWebhook or getUpdates must allow it (allowed_updates)`,
  );
}

function contentOf(
  state: TelegramState,
  payload: Exclude<InboundPayload, { type: "reaction" }>,
): Record<string, unknown> {
  switch (payload.type) {
    case "text": {
      const command = /^\/\w{1,64}/.exec(payload.text)?.[0];
      const entities = command === undefined ? undefined : [{ type: "bot_command", offset: 0, length: command.length }];
      return entities ? { text: payload.text, entities } : { text: payload.text };
    }
    case "location":
      return { location: { latitude: payload.latitude, longitude: payload.longitude } };
    case "file":
      return media(state, payload);
  }
}

/** The shell of a file: there are no bytes to fetch behind its id. */
function media({ world }: TelegramState, file: InboundPayload & { type: "file" }): Record<string, unknown> {
  const { content_type, filename, caption } = file;
  const ids = { file_id: `AgAC${world.random.hex(40)}`, file_unique_id: `AQAD${world.random.hex(12)}` };
  const about = { ...ids, mime_type: content_type, ...(filename === undefined ? {} : { file_name: filename }) };
  const captionField = caption === undefined ? {} : { caption };
  const group = content_type.split("/", 1)[0];
  if (group === "image") return { photo: [{ ...ids, width: 1280, height: 960 }], ...captionField };
  if (content_type === "audio/ogg") return { voice: { ...ids, duration: 1, mime_type: content_type }, ...captionField };
  if (group === "audio") return { audio: { ...about, duration: 1 }, ...captionField };
  if (group === "video") return { video: { ...about, width: 640, height: 360, duration: 1 }, ...captionField };
  return { document: about, ...captionField };
}

function quote(state: TelegramState, account: TelegramAccount, chat: number, replyTo: string): Record<string, unknown> {
  const id = messageIdIn(replyTo);
  const known = state.recent.get(`${account.id} ${chat} ${id}`);
  return known ?? { message_id: id, from: botUser(account), chat: privateChat(state, chat), date: 0 };
}

function messageIdIn(text: string): number {
  const id = /^(?:\d+:)?(\d{1,16})$/.exec(text)?.[1];
  if (id === undefined) throw invalid(`"${text}" is no message of a Telegram chat: its message_id is a whole number`);
  return Number(id);
}

function splitName(name: string): PersonName {
  const [first = name, ...rest] = name.trim().split(/\s+/);
  return rest.length === 0 ? { first_name: first } : { first_name: first, last_name: rest.join(" ") };
}
