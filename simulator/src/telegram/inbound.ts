import type { Inbound, InboundPayload } from "../face.ts";
import { invalid, Problem } from "../problem.ts";
import type { TelegramAccount } from "./account.ts";
import { botUser, canStart, personUser, privateChat } from "./chats.ts";
import { personsFile } from "./media.ts";
import { nextMessageId, type PersonName, type TelegramState } from "./state.ts";
import { sendUpdate } from "./updates.ts";
import { wantsUpdate } from "./webhook.ts";

/** A person writes to the bot, or reacts: one update. Source: Telegram Bot API, getting updates. */
export function personWrites(
  state: TelegramState,
  account: TelegramAccount,
  input: Inbound,
): Record<string, unknown> | Promise<Record<string, unknown>> {
  const chat = Number(input.person);
  if (!canStart(chat)) throw invalid(`from "${input.person}" can never start a bot; the README lists such ids`);
  if (input.name !== undefined) state.names.set(String(chat), splitName(input.name));
  const { payload } = input;
  if (payload.type === "reaction") return react(state, account, chat, payload);
  refuseUnwanted(account, "message");
  if (payload.type !== "file") return write(state, account, chat, input, contentOf(payload));
  return personsFile(state, account, payload).then((part) => write(state, account, chat, input, part));
}

function write(
  state: TelegramState,
  account: TelegramAccount,
  chat: number,
  { replyTo }: Inbound,
  content: Record<string, unknown>,
): Record<string, unknown> {
  const messageId = nextMessageId(state, account.id, String(chat));
  const message = {
    message_id: messageId,
    from: personUser(state, chat),
    chat: privateChat(state, chat),
    date: Math.floor(state.world.now() / 1000),
    ...content,
  };
  state.recent.set(`${account.id} ${chat} ${messageId}`, message);
  const quoted = replyTo === undefined ? undefined : quote(state, account, chat, replyTo);
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
  { message_id, emoji }: InboundPayload & { type: "reaction" },
): Record<string, unknown> {
  refuseUnwanted(account, "message_reaction");
  const id = messageIdIn(message_id);
  const update_id = sendUpdate(state, account, chat, {
    message_reaction: {
      chat: privateChat(state, chat),
      message_id: id,
      user: personUser(state, chat),
      date: Math.floor(state.world.now() / 1000),
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

function contentOf(payload: InboundPayload & { type: "text" | "location" }): Record<string, unknown> {
  if (payload.type === "location") {
    return { location: { latitude: payload.latitude, longitude: payload.longitude } };
  }
  const command = /^\/\w{1,64}/.exec(payload.text)?.[0];
  const entities = command === undefined ? undefined : [{ type: "bot_command", offset: 0, length: command.length }];
  return entities ? { text: payload.text, entities } : { text: payload.text };
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
