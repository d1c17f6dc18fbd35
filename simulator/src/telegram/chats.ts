import type { TelegramAccount } from "./account.ts";
import { BotError, badRequest } from "./bot-error.ts";
import type { Parameters } from "./parameters.ts";
import type { TelegramState } from "./state.ts";

/** Ids of people who never started the bot: sending to them returns `chat not found`. */
const neverStarted = { from: 9_990_000_000, to: 9_999_999_999 } as const;

/** Ids have at most 52 significant bits. Source: Telegram Bot API, available types. */
const maxId = 2 ** 52;

/** The private chat that a call names; throws what the platform returns when the bot cannot write there. */
export function readChat(state: TelegramState, account: TelegramAccount, parameters: Parameters): number {
  const text = parameters.text("chat_id")?.trim();
  if (text === undefined || text === "") throw badRequest("chat_id is empty");
  const chat = Number(text);
  if (!/^\d{1,16}$/.test(text) || !canStart(chat) || !hasStarted(state, account, chat))
    throw badRequest("chat not found");
  if (state.blocked.has(`${account.id} ${chat}`)) throw new BotError(403, "Forbidden: bot was blocked by the user");
  return chat;
}

export function canStart(id: number): boolean {
  return id >= 1 && id <= maxId && !(id >= neverStarted.from && id <= neverStarted.to);
}

/** A chat begins with a message of the person. Before that, bots cannot write to them. */
function hasStarted({ world, lastMessageId }: TelegramState, { id }: TelegramAccount, chat: number): boolean {
  return !world.settings.of("telegram").enforce_window || lastMessageId.has(`${id} ${chat}`);
}

export function botUser({ id, fields }: TelegramAccount): Record<string, unknown> {
  return { id: Number(id), is_bot: true, first_name: fields.first_name, username: fields.username };
}

export function personUser(state: TelegramState, id: number): Record<string, unknown> {
  return { id, is_bot: false, ...nameOf(state, id) };
}

export function privateChat(state: TelegramState, id: number): Record<string, unknown> {
  return { id, ...nameOf(state, id), type: "private" };
}

function nameOf(state: TelegramState, id: number): Record<string, unknown> {
  return { ...(state.names.get(String(id)) ?? { first_name: `Person ${id}` }) };
}
