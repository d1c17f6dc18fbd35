import type { Connector } from "../connector.ts";
import { capabilities } from "./capabilities.ts";
import { botId, type TelegramCredentials, telegramCredentials } from "./credentials.ts";
import { openFile } from "./fetch-file.ts";
import { identifierRule, parseIdentifier } from "./identifier.ts";
import { check, subscribe } from "./manage.ts";
import { send } from "./send.ts";
import { showTyping } from "./signals.ts";
import { parse, verify } from "./webhook.ts";

export const telegram = {
  channel: "telegram",
  credentials: telegramCredentials,
  capabilities,
  identifierRule,
  parseIdentifier,
  externalId: botId,
  verify,
  parse,
  send,
  openFile,
  showTyping,
  check,
  subscribe,
} satisfies Connector<TelegramCredentials>;
