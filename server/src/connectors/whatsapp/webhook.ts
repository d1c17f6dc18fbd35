import { isUuid } from "../../lib/ids.ts";
import { isObject } from "../../lib/json.ts";
import { cleanDetail, cleanId } from "../clean.ts";
import type { InboundEvent, WebhookRequest } from "../connector.ts";
import { ignored, nameOf, timeOf } from "../inbound.ts";
import { type Json, listAt, numberAt, objectAt, textAt } from "../json.ts";
import { parseEntries, type Thing } from "../meta/webhook.ts";
import { contentOf } from "./content.ts";
import type { WhatsAppCredentials } from "./credentials.ts";
import { reasonOf } from "./errors.ts";
import { otherSpellings, parsePlatformIdentifier } from "./identifier.ts";
import { fileOf } from "./media.ts";

export function parse({ rawBody }: WebhookRequest, { phone_number_id }: WhatsAppCredentials): Iterable<InboundEvent> {
  return parseEntries(rawBody, (entry) =>
    listAt(entry, "changes")
      .filter(isObject)
      .flatMap((change) => thingsOf(change, phone_number_id)),
  );
}

function thingsOf(change: Json, phoneNumberId: string): Thing[] {
  const ignore = (what: string): Thing => ({ read: () => ignored(what) });
  const field = textAt(change, "field");
  const value = objectAt(change, "value");
  if (field !== "messages") return [ignore(`field ${field}`)];
  if (textAt(objectAt(value, "metadata"), "phone_number_id") !== phoneNumberId) {
    return [ignore("messages of another number")];
  }
  const contacts = contactsIn(listAt(value, "contacts"));
  const things: Thing[] = [
    ...listAt(value, "statuses").map((status) => ({ at: timeIn(status), read: () => parseStatus(status) })),
    ...listAt(value, "messages").map((message) => ({
      at: timeIn(message),
      read: () => parseMessage(message, contacts),
    })),
    ...listAt(value, "errors").map((error) => ignore(`error ${isObject(error) ? textAt(error, "code") : ""}`)),
  ];
  return things.length > 0 ? things : [ignore("messages without content")];
}

function timeIn(thing: unknown): number {
  return isObject(thing) ? timeOf(numberAt(thing, "timestamp")) : 0;
}

type ReceiptStatus = "sent" | "delivered" | "read" | "failed";

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
  const file = fileOf(message);
  return {
    kind: "message",
    providerMessageId,
    identifier,
    aliases,
    displayName: displayNameOf(message, contacts),
    payload: content.payload,
    ...(file && { file }),
    quotedProviderMessageId: content.target || cleanId(textAt(objectAt(message, "context"), "id")) || null,
    at: timeIn(message),
  };
}

/** The number first, since every kind of message can be sent to it; then the other names of the same person. */
function senderOf(message: Json, newNumber: string): string[] {
  const from = parsePlatformIdentifier(textAt(message, "from"));
  const moved = newNumber === "" ? null : parsePlatformIdentifier(newNumber);
  const ids = [textAt(message, "from_user_id"), textAt(message, "from_parent_user_id")].map(parsePlatformIdentifier);
  const numbers = [moved, from].filter((number) => number !== null);
  return [...numbers, ...ids, ...numbers.flatMap(otherSpellings)].filter((identifier) => identifier !== null);
}

type Contacts = ReadonlyMap<string, Json>;

/** By id: a long webhook may have thousands of messages and of contacts. */
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
