import { hiding, jsonHeaders, postJson } from "../call.ts";
import type { ConnectorIo, Exchange, OutboundPart, SendOutcome } from "../connector.ts";
import { bearer, numberUrl, type WhatsAppAccount } from "./credentials.ts";
import { outcomeOf } from "./outcome.ts";
import { messageRequest } from "./request.ts";

/** One attempt at one part. Sent twice it arrives twice: the platform knows no key against that. */
export async function send(part: OutboundPart, account: WhatsAppAccount, io: ConnectorIo): Promise<SendOutcome> {
  const message = messageRequest(part);
  if (message === null) return notCarried(part);
  const url = `${numberUrl(account)}/messages`;
  const exchange = (answer: Exchange["answer"]): Exchange => ({
    request: { method: "POST", url, body: message.redacted },
    answer,
  });
  const hide = (text: string) => hiding(account.credentials.access_token, spokenText(part))(text);
  const call = { url, headers: { ...jsonHeaders, authorization: bearer(account) }, body: message.body };
  const { answer, lost } = await postJson(io, call, exchange, hide);
  return lost ?? outcomeOf(answer, io.clock.now(), exchange, hide);
}

function notCarried({ payload }: OutboundPart): SendOutcome {
  if (payload.type !== "reaction") {
    return { kind: "refused", reason: "PAYLOAD_NOT_SUPPORTED", detail: `WhatsApp is not sent a ${payload.type} yet.` };
  }
  const detail = "The message reacted to was never exchanged with this person over this number.";
  return { kind: "refused", reason: "PAYLOAD_INVALID", detail };
}

function spokenText({ payload }: OutboundPart): string {
  return payload.type === "text" ? payload.text : "";
}
