import { isObject } from "../../lib/json.ts";
import { retryAfterMs } from "../../lib/retry-after.ts";
import { longerWait, type PlatformAnswer, pageOf, strangeAnswer, type ToExchange } from "../call.ts";
import { cleanDetail, cleanId } from "../clean.ts";
import type { SendOutcome } from "../connector.ts";
import { type Json, numberAt, objectAt, parseObject, textAt } from "../json.ts";
import { accountRefused, broken, refused, throttled, type Verdict } from "./errors.ts";

export interface SendRules {
  /** Null for a code that the platform does not list. */
  verdictOf(code: number, subcode: number): Verdict | null;
  /** The id of what was sent; empty when the response names none. */
  idOf(json: Json): string;
  redact(json: Json): object;
}

/** What the platform's response to a send means, by the code of a Graph error and never by its words. */
export function outcomeOf(
  answer: PlatformAnswer,
  nowMs: number,
  exchange: ToExchange,
  hide: (text: string) => string,
  rules: SendRules,
): SendOutcome {
  const { status, json } = answer;
  const error = json === null ? null : graphError(json, hide);
  if (error !== null) return failed(answer, error, nowMs, exchange, rules);
  const shown = exchange({ status, body: json === null ? pageOf(answer) : rules.redact(json) });
  if (status >= 200 && status < 300) {
    const providerMessageId = json === null ? "" : rules.idOf(json);
    if (providerMessageId !== "") return { kind: "sent", providerMessageId, exchange: shown };
    return { kind: "unknown", detail: `The platform returned ${status} without a message id.`, exchange: shown };
  }
  return strangeAnswer(answer, nowMs, shown);
}

function failed(
  answer: PlatformAnswer,
  error: GraphError,
  nowMs: number,
  exchange: ToExchange,
  { verdictOf }: SendRules,
): SendOutcome {
  const shown = exchange({ status: answer.status, body: error });
  const detail = `${error.code}: ${error.message}`;
  const verdict = verdictOf(error.code, error.error_subcode ?? 0) ?? unlisted(answer.status, error.is_transient);
  if (verdict.kind !== "retry") return { ...verdict, detail, exchange: shown };
  const asked = longerWait(retryAfterMs(answer.headers["retry-after"], nowMs), regainAccessMs(answer));
  return { ...verdict, afterMs: longerWait(verdict.afterMs, asked), detail, exchange: shown };
}

/** A well-formed error of any code says that nothing was sent. */
function unlisted(status: number, isTransient: boolean): Verdict {
  if (status === 401) return accountRefused("CREDENTIALS_INVALID");
  if (status === 429) return throttled;
  return status >= 500 || isTransient ? broken : refused("PLATFORM_REFUSED");
}

interface GraphError {
  code: number;
  error_subcode?: number;
  is_transient: boolean;
  message: string;
  fbtrace_id: string;
}

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

/** The wait that a throttled response asks for, in its header in minutes. Source: Graph API, Rate limits. */
function regainAccessMs(answer: PlatformAnswer): number | null {
  const usage = parseObject(answer.headers["x-business-use-case-usage"] ?? "");
  if (usage === null) return null;
  const minutes = Object.values(usage)
    .flatMap((limits) => (Array.isArray(limits) ? limits : []))
    .map((limit: unknown) => (isObject(limit) ? numberAt(limit, "estimated_time_to_regain_access") : 0))
    .reduce((longest, each) => (each > longest ? each : longest), 0);
  return minutes > 0 ? Math.min(minutes, maxRegainMinutes) * 60_000 : null;
}

const maxRegainMinutes = 24 * 60;
