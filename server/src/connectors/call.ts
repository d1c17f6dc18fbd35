import { type HttpAnswer, type HttpCall, HttpError } from "../lib/http.ts";
import { cleanDetail, cleanId } from "./clean.ts";
import type { ConnectorIo, Exchange, SendOutcome } from "./connector.ts";
import { type Json, parseObject } from "./json.ts";

/** The answer of a platform, or the outcome without a usable one. */
export type CallResult = { answer: PlatformAnswer; lost?: undefined } | { answer?: undefined; lost: SendOutcome };

export interface PlatformAnswer extends HttpAnswer {
  /** The JSON object of the answer; null for another body, such as the page of a gateway. */
  readonly json: Json | null;
}

/**
 * Posts JSON. A request that cannot have reached the platform is a retry and a fault of the platform. One that may have
 * reached it without an answer (time-out, reset, incomplete answer) is unknown: sending it again could duplicate the
 * message. `hide` removes credentials and message text from network errors.
 */
export async function postJson(
  io: ConnectorIo,
  call: Pick<HttpCall, "url" | "headers" | "body">,
  exchange: (answer: Exchange["answer"]) => Exchange,
  hide: (text: string) => string,
): Promise<CallResult> {
  try {
    const answer = await io.http({ method: "POST", timeoutMs: io.timeoutMs, ...call });
    return { answer: { ...answer, json: parseObject(answer.body) } };
  } catch (error) {
    if (!(error instanceof HttpError)) throw error;
    const detail = cleanDetail(`No answer from the platform: ${hide(error.message)}`);
    const lost = exchange(null);
    if (error.mayHaveArrived) return { lost: { kind: "unknown", detail, exchange: lost } };
    return {
      lost: { kind: "retry", afterMs: null, scope: "lane", platformFault: true, detail, exchange: lost },
    };
  }
}

export const jsonHeaders = { "content-type": "application/json" } as const;

/** Null counts as no wait. */
export function longerWait(a: number | null, b: number | null): number | null {
  return a === null ? b : b === null ? a : Math.max(a, b);
}

export function lengthOf(text: string): string {
  return `[${text.length} characters]`;
}

/** An answer that is not JSON in the trace. */
export function pageOf(answer: HttpAnswer): string {
  return `[${cleanId(answer.headers["content-type"] ?? "") || "no content type"}, ${answer.body.length} characters]`;
}

/**
 * Removes each secret from a text. Shorter ones than four characters stay: they reveal nothing and would hide words.
 */
export function hiding(...secrets: readonly string[]): (text: string) => string {
  return (text) =>
    secrets.reduce((seen, secret) => (secret.length < 4 ? seen : seen.replaceAll(secret, "[hidden]")), text);
}
