import type { MessagePayload } from "../../../../contract/src/payloads.ts";
import { isObject } from "../../lib/json.ts";
import { cleanId } from "../clean.ts";
import { locationOf, namedText, reactionOf, textOf } from "../inbound.ts";
import { type Json, listAt, numberAt, objectAt, textAt } from "../json.ts";

/** `target`: the message reacted to. `newNumber`: the number that the person changed to. */
interface Content {
  payload: MessagePayload;
  target: string;
  newNumber: string;
}

/**
 * The content of an element of `messages[]`, or why it has none. Content without a payload of the hub becomes a text
 * with its kind, such as `[image] caption`. Source: Cloud API, Webhooks, messages.
 */
export function contentOf(message: Json): Content | string {
  const type = textAt(message, "type");
  if (type === "edit" || type === "revoke") return type;
  const object = objectAt(message, type);
  if (type === "system") return systemContent(object);
  if (type === "reaction") {
    const target = cleanId(textAt(object, "message_id"));
    return contentWith(reactionOf(textAt(object, "emoji"), target), target);
  }
  return contentWith(payloadOf(type, object, message));
}

function contentWith(payload: MessagePayload, target = ""): Content {
  return { payload, target, newNumber: "" };
}

/** A changed number is shown in the chat as WhatsApp does, and becomes an alias of the person. */
function systemContent(system: Json): Content | string {
  const type = textAt(system, "type");
  if (type !== "user_changed_number") return `system ${type}`;
  return { payload: namedText("changed to a new number"), target: "", newNumber: textAt(system, "wa_id") };
}

function payloadOf(type: string, object: Json, message: Json): MessagePayload {
  switch (type) {
    case "text":
      return textOf(textAt(object, "body"));
    case "location": {
      const name = [textAt(object, "name"), textAt(object, "address")].filter(Boolean).join(", ");
      return locationOf(numberAt(object, "latitude"), numberAt(object, "longitude"), name);
    }
    case "audio":
      return namedText(object.voice === true ? "voice message" : "audio");
    case "document": {
      const filename = textAt(object, "filename");
      return namedText(filename === "" ? "document" : `document ${filename}`, textAt(object, "caption"));
    }
    case "contacts":
      return namedText("contact", listAt(message, "contacts").filter(isObject).map(cardOf).join("; "));
    case "button":
      return textOf(textAt(object, "text") || textAt(object, "payload"));
    case "interactive":
      return interactiveOf(object);
    case "order":
      return namedText("order", orderOf(object));
    case "unsupported":
    case "unknown":
      return namedText(`unsupported message ${textAt(object, "type")}`.trimEnd());
    default:
      return namedText(type || "message", textAt(object, "caption"));
  }
}

function cardOf(contact: Json): string {
  const phones = listAt(contact, "phones").filter(isObject);
  const name = textAt(objectAt(contact, "name"), "formatted_name");
  return [name, ...phones.map((phone) => textAt(phone, "phone") || textAt(phone, "wa_id"))].filter(Boolean).join(" ");
}

/** The label of the tapped button or row; the answers of a form as the platform sends them. */
function interactiveOf(interactive: Json): MessagePayload {
  const type = textAt(interactive, "type");
  const reply = objectAt(interactive, type);
  if (type === "nfm_reply") return namedText("form", textAt(reply, "response_json") || textAt(reply, "body"));
  const title = textAt(reply, "title");
  return title === "" ? namedText(type || "interactive") : textOf(title);
}

function orderOf(order: Json): string {
  const items = listAt(order, "product_items").filter(isObject);
  const lines = items.map((item) => {
    const price = [textAt(item, "item_price"), textAt(item, "currency")].filter(Boolean).join(" ");
    return `${textAt(item, "quantity") || "1"} × ${textAt(item, "product_retailer_id")}${price && ` at ${price}`}`;
  });
  return [lines.join(", "), textAt(order, "text")].filter(Boolean).join(". ");
}
