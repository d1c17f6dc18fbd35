import { type HttpAnswer, type HttpCall, HttpError } from "../lib/http.ts";
import { cleanDetail, cleanId } from "./clean.ts";
import type { ConnectorIo, Exchange, SendOutcome } from "./connector.ts";
import { type Json, parseObject } from "./json.ts";

/** What came back from a platform, or the outcome when nothing usable did. */
export type CallResult = { answer: PlatformAnswer; lost?: undefined } | { answer?: undefined; lost: SendOutcome };

export interface PlatformAnswer extends HttpAnswer {
  /** The answer's JSON object; null for a page of a gateway and the like. */
  readonly json: Json | null;
}

/**
 * One POST of JSON. A request that cannot have reached the platform is a retry and a fault of the platform; one that
 * may have reached it and got no answer (a timeout, a reset, an answer cut off) is unknown: resending blindly could
 * say the same thing twice. `hide` takes credentials and message text out of whatever the network said.
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

/** The longer of two waits, either of which may be unknown. */
export function longerWait(a: number | null, b: number | null): number | null {
  return a === null ? b : b === null ? a : Math.max(a, b);
}

/** How message text shows in the trace. */
export function lengthOf(text: string): string {
  return `[${text.length} characters]`;
}

/** What is told of an answer that is not the platform's own JSON. */
export function pageOf(answer: HttpAnswer): string {
  return `[${cleanId(answer.headers["content-type"] ?? "") || "no content type"}, ${answer.body.length} characters]`;
}

/** Takes each secret out of a text. What is shorter than four characters gives nothing away and would blot out words. */
export function hiding(...secrets: readonly string[]): (text: string) => string {
  return (text) =>
    secrets.reduce((seen, secret) => (secret.length < 4 ? seen : seen.replaceAll(secret, "[hidden]")), text);
}
