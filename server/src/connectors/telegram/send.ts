import { hiding, jsonHeaders, postJson, type ToExchange } from "../call.ts";
import type { ConnectorIo, OutboundPart, SendOutcome } from "../connector.ts";
import { methodUrl, redactedUrl, secretsOf, type TelegramAccount } from "./credentials.ts";
import { migratedTo, outcomeOf } from "./outcome.ts";
import { type MethodCall, methodCall } from "./request.ts";

/** A group that became a supergroup has a new chat id, which the refusal contains: the part is sent there, once. */
export async function send(part: OutboundPart, account: TelegramAccount, io: ConnectorIo): Promise<SendOutcome> {
  const first = await sendTo(part, account, io);
  if (first.movedTo === null || first.movedTo === part.identifier) return first.outcome;
  return (await sendTo({ ...part, identifier: first.movedTo }, account, io)).outcome;
}

async function sendTo(part: OutboundPart, account: TelegramAccount, io: ConnectorIo): Promise<MethodResult> {
  const call = methodCall(part);
  if (call === null) return { outcome: notCarried(part), movedTo: null };
  const text = part.payload.type === "text" ? part.payload.text : "";
  return callMethod(account, io, call, resultId(part), text);
}

interface MethodResult {
  outcome: SendOutcome;
  movedTo: string | null;
}

/** `text`: the message text, which no error may repeat. */
export async function callMethod(
  account: TelegramAccount,
  io: ConnectorIo,
  { method, parameters, redacted }: MethodCall,
  resultId: string | null,
  text = "",
): Promise<MethodResult> {
  const url = redactedUrl(account, method);
  const exchange: ToExchange = (answer) => ({ request: { method: "POST", url, body: redacted }, answer });
  const hide = hiding(...secretsOf(account.credentials), text);
  const request = { url: methodUrl(account, method), headers: jsonHeaders, body: JSON.stringify(parameters) };
  const { answer, lost } = await postJson(io, request, exchange, hide);
  if (lost !== undefined) return { outcome: lost, movedTo: null };
  const outcome = outcomeOf(answer, io.clock.now(), resultId, exchange, hide);
  return { outcome, movedTo: outcome.kind === "refused" ? migratedTo(answer) : null };
}

/** A reaction has no id of its own: the response is `true`. Our id cannot be that of a message. */
function resultId({ payload, deliveryId }: OutboundPart): string | null {
  return payload.type === "reaction" ? `reaction:${deliveryId}` : null;
}

function notCarried({ payload }: OutboundPart): SendOutcome {
  if (payload.type !== "reaction") {
    return { kind: "refused", reason: "PAYLOAD_NOT_SUPPORTED", detail: `Telegram is not sent a ${payload.type}.` };
  }
  const detail = "The message reacted to was never exchanged in this chat.";
  return { kind: "refused", reason: "PAYLOAD_INVALID", detail };
}
