import { hiding, jsonHeaders, postJson } from "../call.ts";
import type { ConnectorIo, Exchange, OutboundPart, SendOutcome } from "../connector.ts";
import { methodUrl, redactedUrl, secretsOf, type TelegramAccount } from "./credentials.ts";
import { migratedTo, outcomeOf } from "./outcome.ts";
import { methodCall } from "./request.ts";

/**
 * Sent twice it arrives twice. A group that became a supergroup has a new chat id, which the refusal contains: nothing
 * was sent, so the part is sent there, once.
 */
export async function send(part: OutboundPart, account: TelegramAccount, io: ConnectorIo): Promise<SendOutcome> {
  const first = await sendTo(part, account, io);
  if (first.movedTo === null || first.movedTo === part.identifier) return first.outcome;
  return (await sendTo({ ...part, identifier: first.movedTo }, account, io)).outcome;
}

async function sendTo(part: OutboundPart, account: TelegramAccount, io: ConnectorIo) {
  const call = methodCall(part);
  if (call === null) return { outcome: notCarried(part), movedTo: null };
  const exchange = (answer: Exchange["answer"]): Exchange => ({
    request: { method: "POST", url: redactedUrl(account, call.method), body: call.redacted },
    answer,
  });
  const hide = (text: string) => hiding(...secretsOf(account.credentials), spokenText(part))(text);
  const request = {
    url: methodUrl(account, call.method),
    headers: jsonHeaders,
    body: JSON.stringify(call.parameters),
  };
  const { answer, lost } = await postJson(io, request, exchange, hide);
  if (lost !== undefined) return { outcome: lost, movedTo: null };
  const outcome = outcomeOf(answer, io.clock.now(), resultId(part), exchange, hide);
  return { outcome, movedTo: outcome.kind === "refused" ? migratedTo(answer) : null };
}

/** A reaction has no id of its own: the answer is `true`. Our id cannot be that of a message. */
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

function spokenText({ payload }: OutboundPart): string {
  return payload.type === "text" ? payload.text : "";
}
