import { isObject } from "../../lib/json.ts";
import { cleanId } from "../clean.ts";
import type { ConnectorIo, OutboundPart, SendOutcome } from "../connector.ts";
import { type Json, listAt, textAt } from "../json.ts";
import { postToGraph } from "../meta/graph.ts";
import type { SendRules } from "../meta/outcome.ts";
import { numberUrl, type WhatsAppAccount } from "./credentials.ts";
import { verdictOf } from "./errors.ts";
import { messageRequest } from "./request.ts";

export async function send(part: OutboundPart, account: WhatsAppAccount, io: ConnectorIo): Promise<SendOutcome> {
  const message = messageRequest(part);
  if (message === null) return notCarried(part);
  const { payload } = part;
  const text = payload.type === "text" ? payload.text : "";
  return postToGraph(account, io, { url: `${numberUrl(account)}/messages`, ...message, text }, sendRules);
}

function notCarried({ payload }: OutboundPart): SendOutcome {
  if (payload.type !== "reaction") {
    return {
      kind: "refused",
      reason: "PAYLOAD_NOT_SUPPORTED",
      detail: `This connector cannot send a ${payload.type} to WhatsApp yet.`,
    };
  }
  const detail = "The message reacted to was never exchanged with this person over this number.";
  return { kind: "refused", reason: "PAYLOAD_INVALID", detail };
}

export const sendRules: SendRules = { verdictOf, idOf: messageIdOf, redact };

function messageIdOf(json: Json): string {
  const [message] = listAt(json, "messages");
  return isObject(message) ? cleanId(textAt(message, "id")) : "";
}

function redact(json: Json): object {
  const [contact] = listAt(json, "contacts");
  const person = isObject(contact) ? textAt(contact, "wa_id") || textAt(contact, "user_id") : "";
  return { contacts: [{ wa_id: cleanId(person) }], messages: [{ id: messageIdOf(json) }] };
}
