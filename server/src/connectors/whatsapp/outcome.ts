import { isObject } from "../../lib/json.ts";
import { retryAfterMs } from "../../lib/retry-after.ts";
import { longerWait, type PlatformAnswer, pageOf } from "../call.ts";
import { cleanDetail, cleanId } from "../clean.ts";
import type { Exchange, SendOutcome } from "../connector.ts";
import { type Json, listAt, numberAt, objectAt, parseObject, textAt } from "../json.ts";
import { type Verdict, verdictOf } from "./errors.ts";

type ToExchange = (answer: Exchange["answer"]) => Exchange;

/** What the platform's answer to a send means. Decided by the code of a Graph error, never by its words. */
export function outcomeOf(
  answer: PlatformAnswer,
  nowMs: number,
  exchange: ToExchange,
  hide: (text: string) => string,
): SendOutcome {
  const { status, json } = answer;
  const error = json === null ? null : graphError(json, hide);
  if (error !== null) return failed(answer, error, nowMs, exchange);
  const told = exchange({ status, body: json === null ? pageOf(answer) : sentBody(json) });
  if (status >= 200 && status < 300) {
    const providerMessageId = json === null ? "" : messageId(json);
    if (providerMessageId !== "") return { kind: "sent", providerMessageId, exchange: told };
    return { kind: "unknown", detail: `The platform answered ${status} without a message id.`, exchange: told };
  }
  return strangeAnswer(answer, nowMs, told);
}

function failed(answer: PlatformAnswer, error: GraphError, nowMs: number, exchange: ToExchange): SendOutcome {
  const told = exchange({ status: answer.status, body: error });
  const detail = `${error.code}: ${error.message}`;
  const verdict = verdictOf(error.code, error.error_subcode ?? 0) ?? unlisted(answer.status, error.is_transient);
  if (verdict.kind !== "retry") return { ...verdict, detail, exchange: told };
  const asked = longerWait(retryAfterMs(answer.headers["retry-after"], nowMs), regainAccessMs(answer));
  return { ...verdict, afterMs: longerWait(verdict.afterMs, asked), detail, exchange: told };
}

/** A well-formed error is the platform's own word that nothing was sent, whatever its code. */
function unlisted(status: number, isTransient: boolean): Verdict {
  if (status === 401) return { kind: "account_refused", reason: "CREDENTIALS_INVALID" };
  if (status === 429) return { kind: "retry", scope: "account", platformFault: false, afterMs: null };
  if (status >= 500 || isTransient) return { kind: "retry", scope: "lane", platformFault: true, afterMs: null };
  return { kind: "refused", reason: "PLATFORM_REFUSED" };
}

/**
 * Not the platform's own words. A page with a 5xx may come from a gateway that lost the answer of a request which went
 * through: unknown. Anything else was turned away before it got there (a proxy, a wrong `base_url`): nothing was sent,
 * the message is not to blame, and the breaker should hear of it.
 */
function strangeAnswer(answer: PlatformAnswer, nowMs: number, told: Exchange): SendOutcome {
  const detail = `The answer ${answer.status} is not one of the platform: ${pageOf(answer)}`;
  if (answer.status >= 500) return { kind: "unknown", detail, exchange: told };
  const afterMs = retryAfterMs(answer.headers["retry-after"], nowMs);
  const isThrottled = answer.status === 429;
  return { kind: "retry", afterMs, scope: "account", platformFault: !isThrottled, detail, exchange: told };
}

interface GraphError {
  code: number;
  error_subcode?: number;
  is_transient: boolean;
  message: string;
  fbtrace_id: string;
}

/** The error envelope of the Graph API, in the parts that are told; null when the body is none. */
function graphError(json: Json, hide: (text: string) => string): GraphError | null {
  if (!isObject(json.error) || typeof json.error.code !== "number") return null;
  const { error } = json;
  const details = textAt(objectAt(error, "error_data"), "details");
  const message = [textAt(error, "message"), details].filter((text) => text !== "").join(" ");
  return {
    code: json.error.code,
    ...(typeof error.error_subcode === "number" && { error_subcode: error.error_subcode }),
    is_transient: error.is_transient === true,
    message: cleanDetail(hide(message)),
    fbtrace_id: cleanId(textAt(error, "fbtrace_id")),
  };
}

function messageId(json: Json): string {
  const [message] = listAt(json, "messages");
  return isObject(message) ? cleanId(textAt(message, "id")) : "";
}

/** The ids that the platform has for the message and the person. */
function sentBody(json: Json): object {
  const [contact] = listAt(json, "contacts");
  const person = isObject(contact) ? textAt(contact, "wa_id") || textAt(contact, "user_id") : "";
  return { contacts: [{ wa_id: cleanId(person) }], messages: [{ id: messageId(json) }] };
}

/** The wait that a throttled answer asks for, told in minutes. Source: Graph API, Rate limits, header of that name. */
function regainAccessMs(answer: PlatformAnswer): number | null {
  const usage = parseObject(answer.headers["x-business-use-case-usage"] ?? "");
  if (usage === null) return null;
  const minutes = Object.values(usage)
    .flatMap((limits) => (Array.isArray(limits) ? limits : []))
    .map((limit: unknown) => (isObject(limit) ? numberAt(limit, "estimated_time_to_regain_access") : 0))
    .reduce((longest, each) => (each > longest ? each : longest), 0);
  return minutes > 0 ? Math.min(minutes, maxRegainMinutes) * 60_000 : null;
}

/** A day: a longer wait is no estimate any more. */
const maxRegainMinutes = 24 * 60;
