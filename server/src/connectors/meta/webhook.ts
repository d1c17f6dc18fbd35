import { createHmac } from "node:crypto";
import { isObject } from "../../lib/json.ts";
import type { InboundEvent, WebhookRequest } from "../connector.ts";
import { isSameSecret } from "../equal.ts";
import { ignored, oldestFirst } from "../inbound.ts";
import { type Json, listAt, parseWebhookBody } from "../json.ts";
import type { MetaCredentials } from "./account.ts";

const challenge = /^[\w.-]{1,256}$/;

/** The handshake by which the platform verifies the callback URL. Source: Graph API, Webhooks, Getting started. */
export function handshake(
  query: Readonly<Record<string, string | undefined>>,
  { verify_token }: MetaCredentials,
): string | null {
  const given = query["hub.challenge"];
  if (query["hub.mode"] !== "subscribe" || given === undefined || !challenge.test(given)) return null;
  return isSameSecret(query["hub.verify_token"], verify_token) ? given : null;
}

/** HMAC-SHA256 of the exact bytes under the app's secret, in lower-case hex. The older SHA-1 header is not accepted. */
export function verify({ headers, rawBody }: WebhookRequest, { app_secret }: MetaCredentials): boolean {
  const given = headers["x-hub-signature-256"];
  if (given === undefined || given.length !== signatureLength) return false;
  return isSameSecret(given, `sha256=${createHmac("sha256", app_secret).update(rawBody).digest("hex")}`);
}

const signatureLength = "sha256=".length + 64;

export interface Thing {
  at?: number;
  read: () => InboundEvent;
}

/** Oldest first, ignored ones last. A body has up to 1000 things; one that cannot be read does not hide the others. */
export function* parseEntries(rawBody: Buffer, listThings: (entry: Json) => Iterable<Thing>): Generator<InboundEvent> {
  const body = parseWebhookBody(rawBody);
  if (body === null) return yield ignored("a body that is not a JSON object, or is too large");
  const things = listAt(body, "entry")
    .filter(isObject)
    .flatMap((entry) => [...listThings(entry)]);
  if (things.length === 0) return yield ignored("a body without changes");
  const withoutEffect: InboundEvent[] = [];
  for (const { read } of oldestFirst(things)) {
    const event = read();
    if (event.kind === "ignored") withoutEffect.push(event);
    else yield event;
  }
  yield* withoutEffect;
}
