import type { HttpCall } from "../../lib/http.ts";
import { hiding, jsonHeaders, ofFile, postJson, type ToExchange } from "../call.ts";
import type { ConnectorIo, OutboundFile, OutboundPart, SendOutcome } from "../connector.ts";
import { multipart } from "../multipart.ts";
import { methodUrl, redactedUrl, secretsOf, type TelegramAccount } from "./credentials.ts";
import { mediaKinds } from "./media.ts";
import { migratedTo, outcomeOf } from "./outcome.ts";
import { fileCall, type MethodCall, methodCall } from "./request.ts";

/** A group that became a supergroup has a new chat id, which the refusal contains: the part is sent there, once. */
export async function send(part: OutboundPart, account: TelegramAccount, io: ConnectorIo): Promise<SendOutcome> {
  const first = await sendTo(part, account, io);
  if (first.movedTo === null || first.movedTo === part.identifier) return first.outcome;
  return (await sendTo({ ...part, identifier: first.movedTo }, account, io)).outcome;
}

async function sendTo(part: OutboundPart, account: TelegramAccount, io: ConnectorIo): Promise<MethodResult> {
  if (part.file !== undefined) return sendFile(part, part.file, account, io);
  const call = methodCall(part);
  if (call === null) return { outcome: notCarried(part), movedTo: null };
  const text = part.payload.type === "text" ? part.payload.text : "";
  return callMethod(account, io, call, resultId(part), text);
}

/** What is refused as a picture, a voice message or a video is sent as a document, at once. */
async function sendFile(
  part: OutboundPart,
  file: OutboundFile,
  account: TelegramAccount,
  io: ConnectorIo,
): Promise<MethodResult> {
  const asKind = async (kind: (typeof mediaKinds)[number]): Promise<MethodResult> => {
    const { method, fields, redacted } = fileCall(part, file, kind);
    const request = await multipart(io, fields, kind.kind, file);
    const result = await callWith(account, io, { method, redacted, request }, null, fields.caption);
    return { ...result, outcome: ofFile(result.outcome) };
  };
  const first = mediaKinds.find(({ kind }) => kind === file.kind)!;
  const document = mediaKinds.find(({ kind }) => kind === "document")!;
  const result = await asKind(first);
  const isRefused = result.outcome.kind === "refused" && result.outcome.isOfFile === true;
  return isRefused && first !== document && result.movedTo === null ? asKind(document) : result;
}

interface MethodResult {
  outcome: SendOutcome;
  movedTo: string | null;
}

/** `text`: the message text, which no error may repeat. */
export function callMethod(
  account: TelegramAccount,
  io: ConnectorIo,
  { method, parameters, redacted }: MethodCall,
  resultId: string | null,
  text = "",
): Promise<MethodResult> {
  const request = { headers: jsonHeaders, body: JSON.stringify(parameters) };
  return callWith(account, io, { method, redacted, request }, resultId, text);
}

interface PreparedCall {
  method: string;
  redacted: object;
  request: Pick<HttpCall, "headers" | "body"> & Partial<Pick<HttpCall, "timeoutMs">>;
}

async function callWith(
  account: TelegramAccount,
  io: ConnectorIo,
  { method, redacted, request }: PreparedCall,
  resultId: string | null,
  text = "",
): Promise<MethodResult> {
  const url = redactedUrl(account, method);
  const exchange: ToExchange = (answer) => ({ request: { method: "POST", url, body: redacted }, answer });
  const hide = hiding(...secretsOf(account.credentials), text);
  const { answer, lost } = await postJson(io, { ...request, url: methodUrl(account, method) }, exchange, hide);
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
