import { HttpError } from "../../lib/http.ts";
import { hiding, jsonHeaders } from "../call.ts";
import { cleanDetail } from "../clean.ts";
import type { ConnectorIo } from "../connector.ts";
import { type Json, objectAt, parseObject, textAt } from "../json.ts";
import { methodUrl, secretsOf, type TelegramAccount } from "./credentials.ts";

/** Statuses by which the platform refuses the credentials; other failures may be temporary. */
const refusals: readonly number[] = [400, 401, 403, 404];

type Said = { ok: boolean; isRefused?: boolean; isTokenRefused?: boolean; detail: string };

/** The updates that `parse` reads, and blocks of the bot. Telegram sends reactions only on request. */
const allowedUpdates = ["message", "edited_message", "callback_query", "message_reaction", "my_chat_member"];

/** Source: Telegram Bot API, `setWebhook`, `max_connections`. */
const maxConnections = 100;

export async function check(account: TelegramAccount, io: ConnectorIo): Promise<Said> {
  return ask(account, io, "getMe", {}, (result) => {
    const bot = objectAt(result, "result");
    return `The token works for @${textAt(bot, "username") || textAt(bot, "id")}.`;
  });
}

/** Sends the bot's updates to the hub. Telegram accepts only https. */
export async function subscribe(account: TelegramAccount, webhookUrl: string, io: ConnectorIo): Promise<Said> {
  const parameters = {
    url: webhookUrl,
    secret_token: account.credentials.secret_token,
    allowed_updates: allowedUpdates,
    max_connections: maxConnections,
  };
  return ask(account, io, "setWebhook", parameters, () => `The platform sends this bot's updates to ${webhookUrl}.`);
}

async function ask(
  account: TelegramAccount,
  io: ConnectorIo,
  method: string,
  parameters: object,
  read: (json: Json) => string,
): Promise<Said> {
  const hide = hiding(...secretsOf(account.credentials));
  try {
    const call = { method: "POST", url: methodUrl(account, method), headers: jsonHeaders, timeoutMs: io.timeoutMs };
    const answer = await io.http({ ...call, body: JSON.stringify(parameters) });
    const json = parseObject(answer.body) ?? {};
    if (json.ok === true) return { ok: true, detail: read(json) };
    const words = textAt(json, "description");
    const reason = words || "an answer that is not the platform's";
    const isRefused = words !== "" && refusals.includes(answer.status);
    const detail = cleanDetail(hide(`The platform answered ${answer.status}: ${reason}`));
    return { ok: false, isRefused, isTokenRefused: isRefused && answer.status === 401, detail };
  } catch (error) {
    if (!(error instanceof HttpError)) throw error;
    return { ok: false, detail: cleanDetail(hide(`The platform could not be reached: ${error.message}`)) };
  }
}
