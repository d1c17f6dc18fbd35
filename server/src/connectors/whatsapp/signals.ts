import type { ConnectorIo, PersonSignal, SendOutcome } from "../connector.ts";
import { postToGraph } from "../meta/graph.ts";
import { numberUrl, type WhatsAppAccount } from "./credentials.ts";
import { verdictOf } from "./errors.ts";

export function markRead(to: PersonSignal, account: WhatsAppAccount, io: ConnectorIo): Promise<SendOutcome> {
  return signal(to, {}, account, io);
}

/** For up to 25 s, or until a message is sent; marks as read too. Source: Cloud API, Typing indicators. */
export function showTyping(to: PersonSignal, account: WhatsAppAccount, io: ConnectorIo): Promise<SendOutcome> {
  return signal(to, { typing_indicator: { type: "text" } }, account, io);
}

async function signal(
  { messageId }: PersonSignal,
  more: object,
  account: WhatsAppAccount,
  io: ConnectorIo,
): Promise<SendOutcome> {
  if (messageId === null) {
    return { kind: "refused", reason: "PAYLOAD_INVALID", detail: "WhatsApp shows this only for a message." };
  }
  const body = { messaging_product: "whatsapp", status: "read", message_id: messageId, ...more };
  const message = { url: `${numberUrl(account)}/messages`, body: JSON.stringify(body), redacted: body };
  return postToGraph(account, io, message, {
    verdictOf,
    idOf: ({ success }) => (success === true ? messageId : ""),
    redact: ({ success }) => ({ success: success === true }),
  });
}
