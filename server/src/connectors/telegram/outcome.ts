import { retryAfterMs } from "../../lib/retry-after.ts";
import { longerWait, type PlatformAnswer, pageOf, strangeAnswer, type ToExchange } from "../call.ts";
import { cleanDetail } from "../clean.ts";
import type { AccountProblem, RefusalReason, SendOutcome } from "../connector.ts";
import { type Json, numberAt, objectAt, textAt } from "../json.ts";
import { messageKey } from "./identifier.ts";

/** What the response to a send means. `resultId`: the id of a call whose response has none. */
export function outcomeOf(
  answer: PlatformAnswer,
  nowMs: number,
  resultId: string | null,
  exchange: ToExchange,
  hide: (text: string) => string,
): SendOutcome {
  const { status, json } = answer;
  if (json === null || typeof json.ok !== "boolean") {
    return strangeAnswer(answer, nowMs, exchange({ status, body: pageOf(answer) }));
  }
  if (json.ok) {
    const providerMessageId = resultId ?? sentMessageId(json);
    const shown = exchange({ status, body: { ok: true, result: providerMessageId } });
    if (providerMessageId !== "") return { kind: "sent", providerMessageId, exchange: shown };
    return { kind: "unknown", detail: "The platform accepted the call without a message id.", exchange: shown };
  }
  return failed(answer, json, nowMs, exchange, hide);
}

export function migratedTo({ json }: PlatformAnswer): string | null {
  const chatId = json === null ? Number.NaN : numberAt(objectAt(json, "parameters"), "migrate_to_chat_id");
  return Number.isSafeInteger(chatId) ? String(chatId) : null;
}

function failed(
  answer: PlatformAnswer,
  json: Json,
  nowMs: number,
  exchange: ToExchange,
  hide: (text: string) => string,
): SendOutcome {
  const code = numberAt(json, "error_code") || answer.status;
  const description = cleanDetail(hide(textAt(json, "description")));
  const shown = exchange({ status: answer.status, body: { ok: false, error_code: code, description } });
  const detail = `${code}: ${description}`;
  if (code === 429) {
    const seconds = numberAt(objectAt(json, "parameters"), "retry_after");
    const asked = retryAfterMs(answer.headers["retry-after"], nowMs);
    const afterMs = longerWait(seconds >= 0 ? seconds * 1000 : null, asked);
    // The rate limit of the account keeps the bot below 30 a second, so the chat was too fast, and only its lane waits.
    return { kind: "retry", afterMs, scope: "lane", platformFault: false, detail, exchange: shown };
  }
  // Front servers also send 502 and 504 in this envelope, after a call that may have succeeded.
  if (code >= 500) return { kind: "unknown", detail, exchange: shown };
  return { ...refusalOf(code, description.toLowerCase()), detail, exchange: shown };
}

type Refusal = { kind: "refused"; reason: RefusalReason } | { kind: "account_refused"; reason: AccountProblem };

/** For 400 and 403 only the description distinguishes the cases. It is not stable: other texts are judged by the code. */
function refusalOf(code: number, description: string): Refusal {
  switch (code) {
    case 401:
    case 421:
      return { kind: "account_refused", reason: "CREDENTIALS_INVALID" };
    case 404:
      if (description.includes("method not found")) return { kind: "refused", reason: "PLATFORM_REFUSED" };
      return { kind: "account_refused", reason: "CREDENTIALS_INVALID" };
    case 403:
      return { kind: "refused", reason: reasonFor(description) ?? "RECIPIENT_UNREACHABLE" };
    case 413:
      return { kind: "refused", reason: "PAYLOAD_INVALID" };
    default:
      return { kind: "refused", reason: reasonFor(description) ?? "PLATFORM_REFUSED" };
  }
}

function reasonFor(description: string): RefusalReason | undefined {
  return reasons.find(([words]) => description.includes(words))?.[1];
}

/** In lower case; the first match wins. Source: tdlib/telegram-bot-api, `Client.cpp`, and observed responses. */
const reasons: readonly (readonly [string, RefusalReason])[] = [
  ["blocked by the user", "RECIPIENT_BLOCKED"],
  ["user is deactivated", "RECIPIENT_UNREACHABLE"],
  ["can't initiate conversation", "RECIPIENT_UNREACHABLE"],
  ["was kicked", "RECIPIENT_UNREACHABLE"],
  ["chat was deleted", "RECIPIENT_UNREACHABLE"],
  ["not a member", "RECIPIENT_UNREACHABLE"],
  ["not enough rights", "RECIPIENT_UNREACHABLE"],
  ["have no rights", "RECIPIENT_UNREACHABLE"],
  ["chat_write_forbidden", "RECIPIENT_UNREACHABLE"],
  ["upgraded to a supergroup", "INVALID_RECIPIENT"],
  ["chat not found", "INVALID_RECIPIENT"],
  ["chat_id is empty", "INVALID_RECIPIENT"],
  ["user not found", "INVALID_RECIPIENT"],
  ["peer_id_invalid", "INVALID_RECIPIENT"],
  ["reaction", "PAYLOAD_INVALID"],
  ["message to react not found", "PAYLOAD_INVALID"],
  ["is empty", "PAYLOAD_INVALID"],
  ["too long", "PAYLOAD_INVALID"],
  ["can't parse", "PAYLOAD_INVALID"],
  ["must be encoded in utf-8", "PAYLOAD_INVALID"],
  ["latitude", "PAYLOAD_INVALID"],
  ["longitude", "PAYLOAD_INVALID"],
];

function sentMessageId(json: Json): string {
  const result = objectAt(json, "result");
  const chatId = textAt(objectAt(result, "chat"), "id");
  const messageId = textAt(result, "message_id");
  return chatId === "" || messageId === "" ? "" : messageKey(chatId, messageId);
}
