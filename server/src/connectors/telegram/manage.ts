import { askPlatform, hiding, jsonHeaders, replacedUrl } from "../call.ts";
import type { AccountAnswer, ConnectorIo } from "../connector.ts";
import { type Json, objectAt, textAt } from "../json.ts";
import { methodUrl, secretsOf, type TelegramAccount } from "./credentials.ts";

/** The updates that `parse` reads, and blocks of the bot. Telegram sends reactions only on request. */
const allowedUpdates = ["message", "edited_message", "callback_query", "message_reaction", "my_chat_member"];

const maxConnections = 100;

export async function check(account: TelegramAccount, io: ConnectorIo): Promise<AccountAnswer> {
  return ask(account, io, "getMe", {}, (result) => {
    const bot = objectAt(result, "result");
    return `The token works for @${textAt(bot, "username") || textAt(bot, "id")}.`;
  });
}

/** Telegram accepts only https. Source: Telegram Bot API, `setWebhook`. */
export async function subscribe(account: TelegramAccount, webhookUrl: string, io: ConnectorIo): Promise<AccountAnswer> {
  const parameters = {
    url: webhookUrl,
    secret_token: account.credentials.secret_token,
    allowed_updates: allowedUpdates,
    max_connections: maxConnections,
  };
  const known = await ask(account, io, "getWebhookInfo", {}, (json) => textAt(objectAt(json, "result"), "url"));
  const set = `The platform sends this bot's updates to ${webhookUrl}.`;
  return ask(account, io, "setWebhook", parameters, () => set + replacedUrl(known, webhookUrl));
}

async function ask(
  account: TelegramAccount,
  io: ConnectorIo,
  method: string,
  parameters: object,
  read: (json: Json) => string,
): Promise<AccountAnswer> {
  const hide = hiding(...secretsOf(account.credentials));
  const call = { method: "POST", url: methodUrl(account, method), headers: jsonHeaders };
  return askPlatform(io, { ...call, body: JSON.stringify(parameters) }, hide, {
    read: (json) => (json.ok === true ? read(json) : null),
    errorOf: (json) => ({ words: textAt(json, "description") }),
  });
}
