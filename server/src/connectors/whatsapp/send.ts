import { isObject } from "../../lib/json.ts";
import { ofFile } from "../call.ts";
import { cleanId } from "../clean.ts";
import type { ConnectorIo, OutboundFile, OutboundPart, SendOutcome } from "../connector.ts";
import { type Json, listAt, textAt } from "../json.ts";
import { postToGraph, uploadToGraph } from "../meta/graph.ts";
import type { SendRules } from "../meta/outcome.ts";
import { numberUrl, type WhatsAppAccount } from "./credentials.ts";
import { verdictOf } from "./errors.ts";
import { uploadedId, uploadFields } from "./media.ts";
import { messageRequest } from "./request.ts";

export async function send(part: OutboundPart, account: WhatsAppAccount, io: ConnectorIo): Promise<SendOutcome> {
  if (part.file === undefined) return sendContent(part, null, account, io);
  const uploaded = await upload(part.file, account, io);
  if (uploaded.kind !== "sent") return ofFile(uploaded);
  return ofFile(await sendContent(part, uploaded.providerMessageId, account, io));
}

function upload(file: OutboundFile, account: WhatsAppAccount, io: ConnectorIo): Promise<SendOutcome> {
  const idOf = (json: Json) => uploadedId(json) ?? "";
  const rules = { verdictOf, idOf, redact: (json: Json) => ({ id: idOf(json) }) };
  return uploadToGraph(
    account,
    io,
    { url: `${numberUrl(account)}/media`, fields: uploadFields(file.contentType), file },
    rules,
  );
}

async function sendContent(
  part: OutboundPart,
  mediaId: string | null,
  account: WhatsAppAccount,
  io: ConnectorIo,
): Promise<SendOutcome> {
  const message = messageRequest(part, mediaId);
  if (message === null) return notCarried(part);
  const { payload } = part;
  const text = payload.type === "text" ? payload.text : payload.type === "file" ? (payload.caption ?? "") : "";
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
