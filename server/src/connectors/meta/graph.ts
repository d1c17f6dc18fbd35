import { askPlatform, hiding, jsonHeaders, postJson, type ToExchange } from "../call.ts";
import type { AccountAnswer, ConnectorIo, SendOutcome } from "../connector.ts";
import { type Json, numberAt, objectAt, textAt } from "../json.ts";
import type { MetaAccount } from "./account.ts";
import { tokenRefused } from "./errors.ts";
import { outcomeOf, type SendRules } from "./outcome.ts";

/** `redacted`: the body for the trace, without message text. `text`: what no error may repeat. */
interface GraphMessage {
  url: string;
  body: string;
  redacted: object;
  text?: string;
}

/** Posts a message or a signal. Sent twice it arrives twice: the platform has no idempotency key. */
export async function postToGraph(
  account: MetaAccount,
  io: ConnectorIo,
  { url, body, redacted, text = "" }: GraphMessage,
  rules: SendRules,
): Promise<SendOutcome> {
  const exchange: ToExchange = (answer) => ({ request: { method: "POST", url, body: redacted }, answer });
  const hide = hiding(account.credentials.access_token, text);
  const { answer, lost } = await postJson(io, { url, headers: headersOf(account), body }, exchange, hide);
  return lost ?? outcomeOf(answer, io.clock.now(), exchange, hide, rules);
}

/** One request about the account itself. `read` returns the sentence for a success, null when the response is none. */
export function askGraph(
  account: MetaAccount,
  io: ConnectorIo,
  call: { method: string; url: string; body?: string },
  read: (json: Json) => string | null,
): Promise<AccountAnswer> {
  const { access_token, app_secret, verify_token } = account.credentials;
  const hide = hiding(access_token, app_secret, verify_token);
  return askPlatform(io, { ...call, headers: headersOf(account) }, hide, {
    read: (json, status) => (status === 200 ? read(json) : null),
    errorOf(json) {
      const error = objectAt(json, "error");
      return { words: textAt(error, "message"), isOfToken: numberAt(error, "code") === tokenRefused };
    },
  });
}

function headersOf({ credentials }: MetaAccount): Record<string, string> {
  return { ...jsonHeaders, authorization: `Bearer ${credentials.access_token}` };
}
