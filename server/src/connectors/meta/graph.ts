import { HttpError } from "../../lib/http.ts";
import { hiding, jsonHeaders, postJson } from "../call.ts";
import { cleanDetail } from "../clean.ts";
import type { ConnectorIo, Exchange, SendOutcome } from "../connector.ts";
import { type Json, numberAt, objectAt, parseObject, textAt } from "../json.ts";
import type { MetaAccount } from "./account.ts";
import { tokenRefused } from "./errors.ts";
import { outcomeOf, type SendRules } from "./outcome.ts";

/** Statuses by which the platform refuses the credentials; other failures may be temporary. */
const refusals: readonly number[] = [400, 401, 403, 404];

export interface GraphResult {
  ok: boolean;
  isRefused?: boolean;
  isTokenRefused?: boolean;
  detail: string;
}

export interface GraphMessage {
  url: string;
  body: string;
  /** The body for the trace, without message text. */
  redacted: object;
  /** Message text, which no error may repeat. */
  text?: string;
}

/** Posts a message or a signal. Sent twice it arrives twice: the platform has no idempotency key. */
export async function postToGraph(
  account: MetaAccount,
  io: ConnectorIo,
  { url, body, redacted, text = "" }: GraphMessage,
  rules: SendRules,
): Promise<SendOutcome> {
  const exchange = (answer: Exchange["answer"]): Exchange => ({
    request: { method: "POST", url, body: redacted },
    answer,
  });
  const hide = hiding(account.credentials.access_token, text);
  const { answer, lost } = await postJson(io, { url, headers: headersOf(account), body }, exchange, hide);
  return lost ?? outcomeOf(answer, io.clock.now(), exchange, hide, rules);
}

/** One request about the account itself. `read` returns the sentence for a success, null when the answer is none. */
export async function askGraph(
  account: MetaAccount,
  io: ConnectorIo,
  call: { method: string; url: string; body?: string },
  read: (json: Json) => string | null,
): Promise<GraphResult> {
  const { access_token, app_secret, verify_token } = account.credentials;
  const hide = hiding(access_token, app_secret, verify_token);
  try {
    const answer = await io.http({ ...call, headers: headersOf(account), timeoutMs: io.timeoutMs });
    const json = parseObject(answer.body) ?? {};
    const success = answer.status === 200 ? read(json) : null;
    if (success !== null) return { ok: true, detail: success };
    const error = objectAt(json, "error");
    const words = textAt(error, "message");
    const reason = words || "an answer that is not the platform's";
    const isRefused = words !== "" && refusals.includes(answer.status);
    const isTokenRefused = isRefused && (answer.status === 401 || numberAt(error, "code") === tokenRefused);
    const detail = cleanDetail(hide(`The platform answered ${answer.status}: ${reason}`));
    return { ok: false, isRefused, isTokenRefused, detail };
  } catch (error) {
    if (!(error instanceof HttpError)) throw error;
    return { ok: false, detail: cleanDetail(hide(`The platform could not be reached: ${error.message}`)) };
  }
}

function headersOf({ credentials }: MetaAccount): Record<string, string> {
  return { ...jsonHeaders, authorization: `Bearer ${credentials.access_token}` };
}
