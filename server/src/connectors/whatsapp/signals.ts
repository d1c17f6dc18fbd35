import { hiding, jsonHeaders, postJson } from "../call.ts";
import type { ConnectorIo, Exchange, PersonSignal, SendOutcome } from "../connector.ts";
import { bearer, numberUrl, type WhatsAppAccount } from "./credentials.ts";
import { outcomeOf } from "./outcome.ts";

/** Marks the message and all earlier ones as read. Source: Cloud API, Mark messages as read. */
export function markRead(to: PersonSignal, account: WhatsAppAccount, io: ConnectorIo): Promise<SendOutcome> {
  return tell(to, {}, account, io);
}

/** For up to 25 s, or until a message is sent; marks as read too. Source: Cloud API, Typing indicators. */
export function showTyping(to: PersonSignal, account: WhatsAppAccount, io: ConnectorIo): Promise<SendOutcome> {
  return tell(to, { typing_indicator: { type: "text" } }, account, io);
}

async function tell(
  { messageId }: PersonSignal,
  more: object,
  account: WhatsAppAccount,
  io: ConnectorIo,
): Promise<SendOutcome> {
  if (messageId === null) {
    return { kind: "refused", reason: "PAYLOAD_INVALID", detail: "WhatsApp shows this only for a message." };
  }
  const url = `${numberUrl(account)}/messages`;
  const body = { messaging_product: "whatsapp", status: "read", message_id: messageId, ...more };
  const exchange = (answer: Exchange["answer"]): Exchange => ({ request: { method: "POST", url, body }, answer });
  const hide = hiding(account.credentials.access_token);
  const call = { url, headers: { ...jsonHeaders, authorization: bearer(account) }, body: JSON.stringify(body) };
  const { answer, lost } = await postJson(io, call, exchange, hide);
  if (lost !== undefined) return lost;
  if (answer.json?.success === true) return { kind: "sent", providerMessageId: messageId };
  return outcomeOf(answer, io.clock.now(), exchange, hide);
}
