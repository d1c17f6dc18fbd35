import { type HttpAnswer, type HttpCall, HttpError } from "../lib/http.ts";
import { retryAfterMs } from "../lib/retry-after.ts";
import { cleanDetail, cleanId } from "./clean.ts";
import type { AccountAnswer, ConnectorIo, Exchange, FetchedFile, RefusalReason, SendOutcome } from "./connector.ts";
import { type Json, parseObject } from "./json.ts";

type CallResult = { answer: PlatformAnswer; lost?: undefined } | { answer?: undefined; lost: SendOutcome };

export type ToExchange = (answer: Exchange["answer"]) => Exchange;

export interface PlatformAnswer extends HttpAnswer {
  /** Null for another body than a JSON object, such as the page of a gateway. */
  readonly json: Json | null;
}

/**
 * A request that cannot have reached the platform is a retry and a fault of the platform. One that may have, without a
 * response (timeout, reset, incomplete response), is unknown: sending it again could duplicate the message.
 */
export async function postJson(
  io: ConnectorIo,
  call: Pick<HttpCall, "url" | "headers" | "body"> & Partial<Pick<HttpCall, "timeoutMs">>,
  exchange: ToExchange,
  hide: (text: string) => string,
): Promise<CallResult> {
  try {
    const answer = await io.http({ method: "POST", timeoutMs: io.timeoutMs, ...call });
    return { answer: { ...answer, json: parseObject(answer.body) } };
  } catch (error) {
    if (!(error instanceof HttpError)) throw error;
    const detail = cleanDetail(`No response from the platform: ${hide(error.message)}`);
    const lost = exchange(null);
    if (error.mayHaveArrived) return { lost: { kind: "unknown", detail, exchange: lost } };
    return { lost: { kind: "retry", afterMs: null, scope: "lane", platformFault: true, detail, exchange: lost } };
  }
}

/**
 * A response that is not of the platform's API. A 5xx may come from a gateway that lost the response of a request that
 * succeeded, and so may a strange success: unknown. Any other was refused on the way (by a proxy, a wrong `base_url`):
 * nothing was sent.
 */
export function strangeAnswer(answer: PlatformAnswer, nowMs: number, exchange: Exchange): SendOutcome {
  const { status } = answer;
  const detail = `The response ${status} is not one of the platform: ${pageOf(answer)}`;
  if (status >= 500 || status < 300) return { kind: "unknown", detail, exchange };
  const afterMs = retryAfterMs(answer.headers["retry-after"], nowMs);
  return { kind: "retry", afterMs, scope: "account", platformFault: status !== 429, detail, exchange };
}

/** Statuses by which a platform refuses the credentials; other failures may be temporary. */
const refusals: readonly number[] = [400, 401, 403, 404];

interface AccountRules {
  /** The sentence for a success; null when the response is none. */
  read(json: Json, status: number): string | null;
  /** The platform's own words, empty when the response is not of its API. */
  errorOf(json: Json): { words: string; isOfToken?: boolean };
}

export async function askPlatform(
  io: ConnectorIo,
  call: Omit<HttpCall, "timeoutMs">,
  hide: (text: string) => string,
  { read, errorOf }: AccountRules,
): Promise<AccountAnswer> {
  try {
    const { status, body } = await io.http({ ...call, timeoutMs: io.timeoutMs });
    const json = parseObject(body) ?? {};
    const success = read(json, status);
    if (success !== null) return { ok: true, detail: success };
    const { words, isOfToken = false } = errorOf(json);
    const isRefused = words !== "" && refusals.includes(status);
    const reason = words || "a response that is not the platform's";
    const detail = cleanDetail(hide(`The platform returned ${status}: ${reason}`));
    return { ok: false, isRefused, isTokenRefused: isRefused && (status === 401 || isOfToken), detail };
  } catch (error) {
    if (!(error instanceof HttpError)) throw error;
    return { ok: false, detail: cleanDetail(hide(`The platform could not be reached: ${error.message}`)) };
  }
}

/**
 * A sentence about the webhook URL that the platform had before, if `known` holds one of another program or account. Only
 * its host is named: the path may contain a secret.
 */
export function replacedUrl(known: AccountAnswer, webhookUrl: string): string {
  if (!known.ok || !URL.canParse(known.detail)) return "";
  const [before, now] = [new URL(known.detail), new URL(webhookUrl)];
  const isSameHost = before.host === now.host;
  if (isSameHost && before.pathname === now.pathname) return "";
  const place = isSameHost ? "another channel account of this hub" : before.host;
  return ` Until now it sent them to ${place}, which gets no more of them.`;
}

export const jsonHeaders = { "content-type": "application/json" } as const;

export function longerWait(a: number | null, b: number | null): number | null {
  return a === null ? b : b === null ? a : Math.max(a, b);
}

/** The bytes of a file, from a URL that the platform gave. */
export async function readFile(
  io: ConnectorIo,
  call: { url: string; headers?: Record<string, string>; signal: AbortSignal },
  checksum: string | null,
  hide: (text: string) => string,
): Promise<FetchedFile> {
  try {
    const { status, headers, body } = await io.read({ ...call, timeoutMs: io.timeoutMs });
    if (status === 200) return { kind: "open", body, checksum };
    body.on("error", () => {}).destroy();
    const afterMs = retryAfterMs(headers["retry-after"], io.clock.now());
    return { kind: "retry", afterMs, detail: `The platform returned ${status} instead of the file.` };
  } catch (error) {
    return notFetched(error, hide);
  }
}

/** Rethrows what is no failure of the platform or the network. */
export function notFetched(error: unknown, hide: (text: string) => string): FetchedFile {
  if (!(error instanceof HttpError)) throw error;
  return { kind: "retry", afterMs: null, detail: cleanDetail(`The file could not be fetched: ${hide(error.message)}`) };
}

/** A refusal of a message with a file may be about the file: a link says as much. */
export function ofFile(outcome: SendOutcome): SendOutcome {
  const isOfFile = outcome.kind === "refused" && reasonsOfFiles.includes(outcome.reason);
  return isOfFile ? { ...outcome, isOfFile } : outcome;
}

const reasonsOfFiles: readonly RefusalReason[] = ["PAYLOAD_INVALID", "PAYLOAD_NOT_SUPPORTED", "PLATFORM_REFUSED"];

export function lengthOf(text: string): string {
  return `[${text.length} characters]`;
}

export function pageOf(answer: HttpAnswer): string {
  return `[${cleanId(answer.headers["content-type"] ?? "") || "no content type"}, ${answer.body.length} characters]`;
}

/** Secrets of less than four characters stay: they reveal nothing, and hiding them would hide words. */
export function hiding(...secrets: readonly string[]): (text: string) => string {
  return (text) =>
    secrets.reduce((seen, secret) => (secret.length < 4 ? seen : seen.replaceAll(secret, "[hidden]")), text);
}
