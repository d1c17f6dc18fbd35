import { replacedUrl } from "../call.ts";
import type { AccountAnswer, ConnectorIo } from "../connector.ts";
import { type Json, objectAt, textAt } from "../json.ts";
import { askGraph } from "../meta/graph.ts";
import { numberUrl, type WhatsAppAccount } from "./credentials.ts";

/** Reads the number with its own token. Source: Cloud API, `GET /{phone_number_id}`. */
export async function check(account: WhatsAppAccount, io: ConnectorIo): Promise<AccountAnswer> {
  const url = `${numberUrl(account)}?fields=display_phone_number,verified_name,quality_rating`;
  return askGraph(account, io, { method: "GET", url }, (json) => {
    const name = [textAt(json, "display_phone_number"), textAt(json, "verified_name")].filter(Boolean).join(", ");
    return textAt(json, "id") === "" ? null : `The token works for ${name || `the number ${textAt(json, "id")}`}.`;
  });
}

/**
 * Makes the hub's URL the webhook of this number, in place of the app's callback. The platform calls the URL with
 * its handshake before it responds. The app must be subscribed to the business account. Source: Cloud API, Webhook
 * overrides.
 */
export async function subscribe(account: WhatsAppAccount, webhookUrl: string, io: ConnectorIo): Promise<AccountAnswer> {
  const urlOfKnown = (json: Json) => textAt(objectAt(json, "webhook_configuration"), "phone_number");
  const known = await askGraph(
    account,
    io,
    { method: "GET", url: `${numberUrl(account)}?fields=webhook_configuration` },
    urlOfKnown,
  );
  const webhook_configuration = {
    override_callback_uri: webhookUrl,
    verify_token: account.credentials.verify_token,
  };
  const call = { method: "POST", url: numberUrl(account), body: JSON.stringify({ webhook_configuration }) };
  return askGraph(account, io, call, (json) =>
    json.success === true
      ? `The platform sends this number's events to ${webhookUrl}.${replacedUrl(known, webhookUrl)}`
      : null,
  );
}
