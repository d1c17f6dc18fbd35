import { createHmac } from "node:crypto";
import { isUuid } from "../../lib/ids.ts";
import { cleanDetail, cleanId } from "../clean.ts";
import type { InboundEvent, WebhookRequest } from "../connector.ts";
import { isSameSecret } from "../equal.ts";
import { ignored, nameOf, oldestFirst, timeOf } from "../inbound.ts";
import { isObject, type Json, listAt, numberAt, objectAt, parseWebhookBody, textAt } from "../json.ts";
import { contentOf } from "./content.ts";
import type { WhatsAppCredentials } from "./credentials.ts";
import { reasonOf } from "./errors.ts";
import { otherSpellings, parsePlatformIdentifier } from "./identifier.ts";

/** Echoed to whoever knows the verify token, as plain text; the platform sends digits. */
const challenge = /^[\w.-]{1,256}$/;

/**
 * The handshake by which the platform makes sure of the callback address. Source: Graph API, Webhooks, Getting started.
 */
export function handshake(
  query: Readonly<Record<string, string | undefined>>,
  { verify_token }: WhatsAppCredentials,
): string | null {
  const given = query["hub.challenge"];
  if (query["hub.mode"] !== "subscribe" || given === undefined || !challenge.test(given)) return null;
  return isSameSecret(query["hub.verify_token"], verify_token) ? given : null;
}

/** HMAC-SHA256 of the exact bytes under the app's secret, in lower-case hex. The older SHA-1 header is not enough. */
export function verify({ headers, rawBody }: WebhookRequest, { app_secret }: WhatsAppCredentials): boolean {
  const given = headers["x-hub-signature-256"];
  if (given === undefined || given.length !== signatureLength) return false;
  return isSameSecret(given, `sha256=${createHmac("sha256", app_secret).update(rawBody).digest("hex")}`);
}

const signatureLength = "sha256=".length + 64;

/** Up to 1000 things in one body, of one or many kinds; one that cannot be read never hides the others. */
export function parse({ rawBody }: WebhookRequest, { phone_number_id }: WhatsAppCredentials): InboundEvent[] {
  const body = parseWebhookBody(rawBody);
  if (body === null) return [ignored("a body that is not a JSON object, or is too large")];
  const events: InboundEvent[] = [];
  for (const entry of listAt(body, "entry")) {
    if (!isObject(entry)) continue;
    for (const change of listAt(entry, "changes")) {
      if (isObject(change)) parseChange(change, phone_number_id, events);
    }
  }
  return events.length === 0 ? [ignored("a body without changes")] : oldestFirst(events);
}

function parseChange(change: Json, phoneNumberId: string, events: InboundEvent[]): void {
  const field = textAt(change, "field");
  if (field !== "messages") return void events.push(ignored(`field ${field}`));
  const value = objectAt(change, "value");
  if (textAt(objectAt(value, "metadata"), "phone_number_id") !== phoneNumberId) {
    return void events.push(ignored("messages of another number"));
  }
  const contacts = listAt(value, "contacts").filter(isObject);
  const before = events.length;
  for (const status of listAt(value, "statuses")) events.push(parseStatus(status));
  for (const message of listAt(value, "messages")) events.push(parseMessage(message, contacts));
  for (const error of listAt(value, "errors")) {
    events.push(ignored(`error ${isObject(error) ? textAt(error, "code") : ""}`));
  }
  if (events.length === before) events.push(ignored("messages without content"));
}

type ReceiptStatus = "sent" | "delivered" | "read" | "failed";

/** `played` is the first time that a voice message was listened to: at least read. */
const statuses: ReadonlyMap<string, ReceiptStatus> = new Map([
  ["sent", "sent"],
  ["delivered", "delivered"],
  ["read", "read"],
  ["played", "read"],
  ["failed", "failed"],
] as const);

function parseStatus(status: unknown): InboundEvent {
  if (!isObject(status)) return ignored("a status that is not an object");
  const providerMessageId = cleanId(textAt(status, "id"));
  const known = statuses.get(textAt(status, "status"));
  if (known === undefined || providerMessageId === "") return ignored(`status ${textAt(status, "status")}`);
  return {
    kind: "receipt",
    providerMessageId,
    ...parseCallbackData(textAt(status, "biz_opaque_callback_data")),
    status: known,
    error: known === "failed" ? parseFailure(status) : null,
    at: timeOf(numberAt(status, "timestamp")),
  };
}

/** The inverse of `callbackData`; another program's data is no delivery of ours. */
function parseCallbackData(data: string): { deliveryId: string | null; partIndex?: number } {
  const deliveryId = data.slice(0, 36);
  if (!isUuid(deliveryId)) return { deliveryId: null };
  if (data.length === 36) return { deliveryId, partIndex: 0 };
  return /^:\d{1,4}$/.test(data.slice(36)) ? { deliveryId, partIndex: Number(data.slice(37)) } : { deliveryId: null };
}

function parseFailure(status: Json) {
  const [first] = listAt(status, "errors");
  const error = isObject(first) ? first : {};
  const code = numberAt(error, "code");
  const details = textAt(objectAt(error, "error_data"), "details");
  const detail = `${textAt(error, "code")}: ${[textAt(error, "title"), details].filter(Boolean).join(". ")}`;
  return { reason: reasonOf(code), detail: cleanDetail(detail) };
}

function parseMessage(message: unknown, contacts: readonly Json[]): InboundEvent {
  if (!isObject(message)) return ignored("a message that is not an object");
  const providerMessageId = cleanId(textAt(message, "id"));
  const content = contentOf(message);
  if (typeof content === "string") return ignored(content);
  const [identifier, ...aliases] = [...new Set(senderOf(message, content.newNumber))];
  if (providerMessageId === "" || identifier === undefined) return ignored("a message without id or sender");
  return {
    kind: "message",
    providerMessageId,
    identifier,
    aliases,
    displayName: displayNameOf(message, contacts),
    payload: content.payload,
    quotedProviderMessageId: content.target || cleanId(textAt(objectAt(message, "context"), "id")) || null,
    at: timeOf(numberAt(message, "timestamp")),
  };
}

/** The number first, since every kind of message can be sent to it; then all else that names the same person. */
function senderOf(message: Json, newNumber: string): string[] {
  const from = parsePlatformIdentifier(textAt(message, "from"));
  const moved = newNumber === "" ? null : parsePlatformIdentifier(newNumber);
  const ids = [textAt(message, "from_user_id"), textAt(message, "from_parent_user_id")].map(parsePlatformIdentifier);
  const numbers = [moved, from].filter((number) => number !== null);
  return [...numbers, ...ids, ...numbers.flatMap(otherSpellings)].filter((identifier) => identifier !== null);
}

function displayNameOf(message: Json, contacts: readonly Json[]): string | null {
  const from = textAt(message, "from");
  const userId = textAt(message, "from_user_id");
  const contact = contacts.find(
    (each) => (from !== "" && textAt(each, "wa_id") === from) || (userId !== "" && textAt(each, "user_id") === userId),
  );
  const profile = objectAt(contact ?? {}, "profile");
  return nameOf(textAt(profile, "name") || textAt(profile, "username"));
}
