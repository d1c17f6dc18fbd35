import type { Connector } from "../connector.ts";
import { handshake, verify } from "../meta/webhook.ts";
import { capabilities } from "./capabilities.ts";
import { type WhatsAppCredentials, whatsappCredentials } from "./credentials.ts";
import { openFile } from "./fetch-file.ts";
import { identifierRule, parseIdentifier } from "./identifier.ts";
import { check, subscribe } from "./manage.ts";
import { send } from "./send.ts";
import { markRead, showTyping } from "./signals.ts";
import { parse } from "./webhook.ts";

export const whatsapp = {
  channel: "whatsapp",
  credentials: whatsappCredentials,
  capabilities,
  identifierRule,
  parseIdentifier,
  externalId: (credentials) => credentials.phone_number_id,
  handshake,
  verify,
  parse,
  send,
  openFile,
  markRead,
  showTyping,
  check,
  subscribe,
} satisfies Connector<WhatsAppCredentials>;
