import { HttpError } from "../../lib/http.ts";
import { hiding, jsonHeaders } from "../call.ts";
import { cleanDetail } from "../clean.ts";
import type { ConnectorIo } from "../connector.ts";
import { type Json, numberAt, objectAt, parseObject, textAt } from "../json.ts";
import { bearer, numberUrl, type WhatsAppAccount } from "./credentials.ts";

/** Statuses by which the platform refuses the credentials; other failures may be temporary. */
const refusals: readonly number[] = [400, 401, 403, 404];

/** The code of a token that expired or was revoked. Source: Graph API, Error codes. */
const tokenRefused = 190;

type Said = { ok: boolean; isRefused?: boolean; isTokenRefused?: boolean; detail: string };

/** Reads the number with its own token. Source: Cloud API, `GET /{phone_number_id}`. */
export async function check(account: WhatsAppAccount, io: ConnectorIo): Promise<Said> {
  const url = `${numberUrl(account)}?fields=display_phone_number,verified_name,quality_rating`;
  return ask(account, io, { method: "GET", url }, (json) => {
    const name = [textAt(json, "display_phone_number"), textAt(json, "verified_name")].filter(Boolean).join(", ");
    return textAt(json, "id") === "" ? null : `The token works for ${name || `the number ${textAt(json, "id")}`}.`;
  });
}

/**
 * Points this number's webhooks at the hub, whatever callback the app has. The platform calls the address with its
 * handshake before it answers. The app must be subscribed to the business account. Source: Cloud API, Webhook
 * overrides.
 */
export async function subscribe(account: WhatsAppAccount, webhookUrl: string, io: ConnectorIo): Promise<Said> {
  const webhook_configuration = {
    override_callback_uri: webhookUrl,
    verify_token: account.credentials.verify_token,
  };
  const call = { method: "POST", url: numberUrl(account), body: JSON.stringify({ webhook_configuration }) };
  return ask(account, io, call, (json) =>
    json.success === true ? `The platform sends this number's events to ${webhookUrl}.` : null,
  );
}

async function ask(
  account: WhatsAppAccount,
  io: ConnectorIo,
  call: { method: string; url: string; body?: string },
  read: (json: Json) => string | null,
): Promise<Said> {
  const { access_token, app_secret, verify_token } = account.credentials;
  const hide = hiding(access_token, app_secret, verify_token);
  try {
    const headers = { ...jsonHeaders, authorization: bearer(account) };
    const answer = await io.http({ ...call, headers, timeoutMs: io.timeoutMs });
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
