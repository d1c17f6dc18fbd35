import type { Account } from "../accounts.ts";
import { integer, list, object, oneOf, optional, string, url } from "../fields.ts";

export interface TelegramFields {
  channel: "telegram";
  /** `<bot id>:<35 characters>`. Source: Telegram Bot API, making requests. */
  bot_token: string;
  username: string;
  first_name: string;
  webhook_url?: string;
  secret_token?: string;
  max_connections?: number;
  allowed_updates?: string[];
}

export interface TelegramAccount extends Account {
  readonly fields: Readonly<TelegramFields> & Readonly<Record<string, unknown>>;
}

const readFields = object({
  channel: oneOf(["telegram"]),
  bot_token: string({
    max: 100,
    pattern: /^\d{1,15}:[A-Za-z0-9_-]{35}$/,
    hint: "<bot id>:<35 letters, digits, _ or ->",
  }),
  username: optional(string({ max: 64, pattern: /^\w+$/, hint: "letters, digits and _" })),
  first_name: optional(string({ max: 64 })),
  webhook_url: optional(url),
  secret_token: optional(string({ max: 256, pattern: /^[A-Za-z0-9_-]+$/, hint: "1 to 256 of A-Z a-z 0-9 _ -" })),
  max_connections: optional(integer(1, 100)),
  allowed_updates: optional(list(string({ max: 64 }), 100)),
});

export function readAccount(input: unknown): TelegramAccount {
  const given = readFields(input, "body");
  return toAccount({
    ...given,
    username: given.username ?? `simulator_${given.bot_token.split(":", 1)[0]}_bot`,
    first_name: given.first_name ?? "Chat4All Simulator",
  } as TelegramFields);
}

export function toAccount(fields: TelegramFields): TelegramAccount {
  return {
    channel: "telegram",
    id: fields.bot_token.slice(0, fields.bot_token.indexOf(":")),
    token: fields.bot_token,
    webhookUrl: fields.webhook_url,
    fields: fields as TelegramAccount["fields"],
  };
}
