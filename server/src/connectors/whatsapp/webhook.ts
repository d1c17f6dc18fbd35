import { createHmac } from "node:crypto";
import { isUuid } from "../../lib/ids.ts";
import { isObject } from "../../lib/json.ts";
import { cleanDetail, cleanId } from "../clean.ts";
import type { InboundEvent, WebhookRequest } from "../connector.ts";
import { isSameSecret } from "../equal.ts";
import { ignored, nameOf, oldestFirst, timeOf } from "../inbound.ts";
import { type Json, listAt, numberAt, objectAt, parseWebhookBody, textAt } from "../json.ts";
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

/**
 * Up to 1000 things in one body, of one or many kinds, oldest first; one that cannot be read never hides the others.
 * Each is read when it is asked for.
 */
export function* parse(
  { rawBody }: WebhookRequest,
  { phone_number_id }: WhatsAppCredentials,
): Generator<InboundEvent, void> {
  const body = parseWebhookBody(rawBody);
  if (body === null) return yield ignored("a body that is not a JSON object, or is too large");
  const things: Thing[] = [];
  for (const entry of listAt(body, "entry")) {
    if (!isObject(entry)) continue;
    for (const change of listAt(entry, "changes")) {
      if (isObject(change)) listThings(change, phone_number_id, things);
    }
  }
  if (things.length === 0) return yield ignored("a body without changes");
  const withoutEffect: InboundEvent[] = [];
  for (const { read } of oldestFirst(things)) {
    const event = read();
    if (event.kind === "ignored") withoutEffect.push(event);
    else yield event;
  }
  yield* withoutEffect;
}

/** Something in a body, not read yet. */
interface Thing {
  /** As the event's; left out for what is ignored. */
  at?: number;
  read: () => InboundEvent;
}

function listThings(change: Json, phoneNumberId: string, things: Thing[]): void {
  const ignore = (what: string) => {
    things.push({ read: () => ignored(what) });
  };
  const field = textAt(change, "field");
  const value = objectAt(change, "value");
  const before = things.length;
  if (field !== "messages") ignore(`field ${field}`);
  else if (textAt(objectAt(value, "metadata"), "phone_number_id") !== phoneNumberId) {
    ignore("messages of another number");
  } else {
    const contacts = contactsIn(listAt(value, "contacts"));
    for (const status of listAt(value, "statuses"))
      things.push({ at: timeIn(status), read: () => parseStatus(status) });
    for (const message of listAt(value, "messages")) {
      things.push({ at: timeIn(message), read: () => parseMessage(message, contacts) });
    }
    for (const error of listAt(value, "errors")) ignore(`error ${isObject(error) ? textAt(error, "code") : ""}`);
  }
  if (things.length === before) ignore("messages without content");
}

function timeIn(thing: unknown): number {
  return isObject(thing) ? timeOf(numberAt(thing, "timestamp")) : 0;
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
    at: timeIn(status),
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

function parseMessage(message: unknown, contacts: Contacts): InboundEvent {
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
    at: timeIn(message),
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

/** By the kind and the value of an id. */
type Contacts = ReadonlyMap<string, Json>;

/** For look-ups by id: a long webhook may have thousands of messages and of contacts. */
function contactsIn(list: readonly unknown[]): Contacts {
  const contacts = new Map<string, Json>();
  for (const contact of list) {
    if (!isObject(contact)) continue;
    for (const kind of ["wa_id", "user_id"]) {
      const key = `${kind} ${textAt(contact, kind)}`;
      if (!contacts.has(key)) contacts.set(key, contact);
    }
  }
  return contacts;
}

function displayNameOf(message: Json, contacts: Contacts): string | null {
  const from = textAt(message, "from");
  const userId = textAt(message, "from_user_id");
  const contact =
    (from !== "" && contacts.get(`wa_id ${from}`)) || (userId !== "" && contacts.get(`user_id ${userId}`));
  const profile = objectAt(contact || {}, "profile");
  return nameOf(textAt(profile, "name") || textAt(profile, "username"));
}
