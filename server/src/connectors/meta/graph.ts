import { askPlatform, hiding, jsonHeaders, notFetched, postJson, readFile, type ToExchange } from "../call.ts";
import { cleanDetail } from "../clean.ts";
import type { AccountAnswer, ConnectorIo, FetchedFile, OutboundFile, SendOutcome } from "../connector.ts";
import { type Json, numberAt, objectAt, parseObject, textAt } from "../json.ts";
import { multipart } from "../multipart.ts";
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

/**
 * Uploads a file; sent twice it is stored twice, and no person sees it. So the outcome is never unknown. `sent` has the
 * id that `rules.idOf` reads.
 */
export async function uploadToGraph(
  account: MetaAccount,
  io: ConnectorIo,
  { url, fields, file }: { url: string; fields: Record<string, string>; file: OutboundFile },
  rules: SendRules,
): Promise<SendOutcome> {
  const body = { ...fields, file: `[${file.contentType}, ${file.bytes} bytes]` };
  const exchange: ToExchange = (answer) => ({ request: { method: "POST", url, body }, answer });
  const hide = hiding(account.credentials.access_token);
  const form = await multipart(io, fields, "file", file);
  const headers = { ...headersOf(account), ...form.headers };
  const call = { ...form, url, headers };
  const { answer, lost } = await postJson(io, call, exchange, hide);
  const outcome = lost ?? outcomeOf(answer, io.clock.now(), exchange, hide, rules);
  if (outcome.kind !== "unknown") return outcome;
  const { detail, exchange: shown } = outcome;
  return {
    kind: "retry",
    afterMs: null,
    scope: "lane",
    platformFault: true,
    detail,
    ...(shown && { exchange: shown }),
  };
}

/** The file that `fileOf` finds in the response to a `GET` of its id; only that host gets the token. */
export async function openGraphFile(
  account: MetaAccount,
  io: ConnectorIo,
  { url, signal }: { url: string; signal: AbortSignal },
  fileOf: (json: Json) => { url: string; checksum: string | null } | null,
): Promise<FetchedFile> {
  const { access_token } = account.credentials;
  const hide = hiding(access_token);
  const headers = { authorization: `Bearer ${access_token}` };
  try {
    const { status, body } = await io.http({ method: "GET", url, headers, timeoutMs: io.timeoutMs, signal });
    const json = parseObject(body) ?? {};
    const file = status === 200 ? fileOf(json) : null;
    if (file === null) {
      const words = textAt(objectAt(json, "error"), "message");
      const detail = cleanDetail(hide(`${status}: ${words || "not a file of the platform"}`));
      const isGone = words !== "" && (status === 400 || status === 404);
      return isGone ? { kind: "gone", detail } : { kind: "retry", afterMs: null, detail };
    }
    if (!isOfPlatform(new URL(file.url), new URL(url))) {
      return { kind: "gone", detail: "The platform names a host that is not its own." };
    }
    return await readFile(io, { url: file.url, headers, signal }, file.checksum, hide);
  } catch (error) {
    return notFetched(error, hide);
  }
}

/** Hosts from which Meta serves files. */
const ownHosts = /(^|\.)(fbsbx\.com|fbcdn\.net|facebook\.com)$/;

function isOfPlatform(file: URL, api: URL): boolean {
  return file.origin === api.origin || (file.protocol === "https:" && ownHosts.test(file.hostname));
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
