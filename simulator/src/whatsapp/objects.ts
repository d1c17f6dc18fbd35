import { randomInt } from "node:crypto";
import { type Answer, json } from "../calls.ts";
import { isRecord } from "../fields.ts";
import { toAccount } from "./account.ts";
import { listTemplates } from "./content.ts";
import type { GraphCall } from "./graph.ts";
import { badParameter, GraphError, missing } from "./graph-error.ts";

const handshakeTimeoutMs = 5_000;

export function readNumber({ account, fields }: GraphCall): Answer {
  const { verified_name, display_phone_number, webhook_url } = account.fields;
  const all: Record<string, unknown> = {
    id: account.id,
    verified_name,
    display_phone_number: `+${display_phone_number}`,
    quality_rating: "GREEN",
    webhook_configuration: webhook_url === undefined ? {} : { phone_number: webhook_url },
  };
  const asked = typeof fields.fields === "string" ? fields.fields.split(",").map((name) => name.trim()) : undefined;
  const shown = asked ?? ["verified_name", "display_phone_number", "quality_rating", "id"];
  return json(200, Object.fromEntries([...new Set([...shown, "id"])].map((name) => [name, all[name]])));
}

/** `POST /{phone_number_id}` with `webhook_configuration`: sets where webhooks go, after the receiver has echoed. */
export async function configureNumber({ state, account, fields }: GraphCall): Promise<Answer> {
  const { world } = state;
  const configuration = fields.webhook_configuration;
  if (configuration === undefined) throw missing("webhook_configuration");
  if (!isRecord(configuration)) throw badParameter("webhook_configuration must be an object.");
  const { override_callback_uri: url, verify_token: token } = configuration;
  if (typeof url !== "string") throw missing("webhook_configuration.override_callback_uri");
  if (url !== "" && !(/^https?:\/\//.test(url) && URL.canParse(url))) {
    throw badParameter("webhook_configuration.override_callback_uri is not a URL.");
  }
  if (url !== "" && typeof token !== "string") throw missing("webhook_configuration.verify_token");
  if (url !== "") await shakeHands(state, url, token as string);

  const { webhook_url: _, ...kept } = account.fields;
  const changed = toAccount(url === "" ? kept : { ...kept, webhook_url: url, verify_token: token as string });
  world.accounts.put(changed);
  world.journal.account(changed.fields);
  world.webhooks.retarget(changed);
  return json(200, { success: true });
}

export function listMessageTemplates({ account, fields }: GraphCall): Answer {
  const limit = Number(fields.limit ?? 25);
  if (!Number.isInteger(limit) || limit < 1) throw badParameter("limit must be a positive whole number.");
  return json(200, listTemplates(account.fields.templates, limit));
}

export function listSubscribedApps(): Answer {
  const app = { id: "700000000000001", name: "Chat4All Simulator", link: "https://example.com/" };
  return json(200, { data: [{ whatsapp_business_api_data: app }] });
}

export function subscribeApp(): Answer {
  return json(200, { success: true });
}

/** The body must be exactly the challenge. Source: Graph API, webhooks, verification requests. */
async function shakeHands({ world }: GraphCall["state"], url: string, token: string): Promise<void> {
  const challenge = String(randomInt(1_000_000_000, 2_000_000_000));
  const target = new URL(url);
  target.searchParams.set("hub.mode", "subscribe");
  target.searchParams.set("hub.verify_token", token);
  target.searchParams.set("hub.challenge", challenge);
  const outcome = await world.http.send({ method: "GET", url: target.href, timeoutMs: handshakeTimeoutMs });
  if (outcome.kind === "answer" && outcome.status === 200 && outcome.body === challenge) return;
  const reason =
    outcome.kind === "failed"
      ? outcome.reason
      : outcome.status === 200
        ? "the response does not match the challenge"
        : `HTTP Status Code = ${outcome.status}`;
  throw new GraphError(400, 2200, `(#2200) Callback verification failed with the following errors: ${reason}`);
}
