import { type Static, Type } from "typebox";
import type { ChannelAccount } from "../connector.ts";

/** The token is in the path of every call, which it must not break out of. */
export const telegramCredentials = Type.Object(
  {
    bot_token: Type.String({
      pattern: "^[0-9]{1,20}:[A-Za-z0-9_-]{1,200}$",
      description: "As @BotFather gave it.",
    }),
    secret_token: Type.String({
      pattern: "^[A-Za-z0-9_-]{8,256}$",
      description: "Any text of 8 to 256 letters, digits, _ and -: it proves that a webhook comes from Telegram.",
    }),
  },
  { additionalProperties: false },
);
export type TelegramCredentials = Static<typeof telegramCredentials>;
export type TelegramAccount = ChannelAccount<TelegramCredentials>;

/** Source: Telegram Bot API, Making requests. */
const defaultBaseUrl = "https://api.telegram.org";

/** It has the token: pass it only to the HTTP client. */
export function methodUrl(account: TelegramAccount, method: string): string {
  return `${account.settings.base_url ?? defaultBaseUrl}/bot${account.credentials.bot_token}/${method}`;
}

/** Of a `file_path`. It has the token: pass it only to the HTTP client. */
export function fileUrl(account: TelegramAccount, path: string): string {
  return `${account.settings.base_url ?? defaultBaseUrl}/file/bot${account.credentials.bot_token}/${path}`;
}

export function redactedUrl(account: TelegramAccount, method: string): string {
  return `${account.settings.base_url ?? defaultBaseUrl}/bot${botId(account.credentials)}:[hidden]/${method}`;
}

export function botId({ bot_token }: TelegramCredentials): string {
  return bot_token.slice(0, bot_token.indexOf(":"));
}

export function secretsOf({ bot_token, secret_token }: TelegramCredentials): string[] {
  return [bot_token.slice(bot_token.indexOf(":") + 1), secret_token];
}
