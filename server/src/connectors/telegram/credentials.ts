import { type Static, Type } from "typebox";
import type { ChannelAccount } from "../connector.ts";

/** What connects a bot. The token stands in the path of every call and must not break out of it. */
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

/** The address of a method. It holds the token: it goes to the HTTP client and nowhere else. */
export function methodUrl(account: TelegramAccount, method: string): string {
  return `${account.settings.base_url ?? defaultBaseUrl}/bot${account.credentials.bot_token}/${method}`;
}

/** The same address for the trace. */
export function redactedUrl(account: TelegramAccount, method: string): string {
  return `${account.settings.base_url ?? defaultBaseUrl}/bot${botId(account.credentials)}:[hidden]/${method}`;
}

/** The part of the token before the colon, which is public: the bot's user id. */
export function botId({ bot_token }: TelegramCredentials): string {
  return bot_token.slice(0, bot_token.indexOf(":"));
}

/** What must be hidden: the part of the token after the colon, whole or within the token, and the webhook's secret. */
export function secretsOf({ bot_token, secret_token }: TelegramCredentials): string[] {
  return [bot_token.slice(bot_token.indexOf(":") + 1), secret_token];
}
