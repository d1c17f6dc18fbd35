import { lengthOf } from "../call.ts";
import type { OutboundPart } from "../connector.ts";
import { mediaContent, mediaKinds } from "./media.ts";

interface MessageRequest {
  readonly body: string;
  /** The body without message text, for the trace. */
  readonly redacted: object;
}

/**
 * Null for a payload that cannot be sent, or a reaction without a target. `mediaId`: of its file, which was uploaded.
 * Source: Cloud API, `/messages`.
 */
export function messageRequest(part: OutboundPart, mediaId: string | null = null): MessageRequest | null {
  const content = contentOf(part, mediaId);
  if (content === null) return null;
  const { type, object, redacted } = content;
  const envelope = {
    messaging_product: "whatsapp",
    recipient_type: "individual",
    ...recipientOf(part.identifier),
    ...quoteOf(part, type),
    biz_opaque_callback_data: callbackData(part.deliveryId, part.partIndex),
    type,
  };
  return { body: JSON.stringify({ ...envelope, [type]: object }), redacted: { ...envelope, [type]: redacted } };
}

/** Returned in every receipt of this part. 36 to 41 bytes; the platform allows 512. */
function callbackData(deliveryId: string, partIndex: number): string {
  return partIndex === 0 ? deliveryId : `${deliveryId}:${partIndex}`;
}

function recipientOf(identifier: string): { to: string } | { recipient: string } {
  return identifier.startsWith("+") ? { to: identifier.slice(1) } : { recipient: identifier };
}

function quoteOf(part: OutboundPart, type: string) {
  if (part.quotedProviderMessageId === null || part.partIndex > 0 || type === "reaction") return null;
  return { context: { message_id: part.quotedProviderMessageId } };
}

interface Content {
  type: string;
  object: object;
  redacted: unknown;
}

function contentOf({ payload, targetProviderMessageId, file }: OutboundPart, mediaId: string | null): Content | null {
  switch (payload.type) {
    case "text": {
      const body = payload.text.toWellFormed();
      return { type: "text", object: { body }, redacted: { body: lengthOf(body) } };
    }
    case "location": {
      const { latitude, longitude, name } = payload;
      const object = { latitude, longitude, ...(name && { name: name.toWellFormed() }) };
      return { type: "location", object, redacted: "[a place]" };
    }
    case "reaction": {
      if (targetProviderMessageId === null) return null;
      const object = { message_id: targetProviderMessageId, emoji: payload.emoji };
      return { type: "reaction", object, redacted: { ...object, emoji: lengthOf(payload.emoji) } };
    }
    case "template": {
      const head = { name: payload.name, language: { code: payload.language } };
      const parameters = templateParameters(payload.parameters);
      if (parameters.length === 0) return { type: "template", object: head, redacted: head };
      const object = { ...head, components: [{ type: "body", parameters }] };
      return { type: "template", object, redacted: { ...head, components: `[${parameters.length} parameters]` } };
    }
    case "file": {
      if (file === undefined || mediaId === null) return null;
      const { kind } = mediaKinds.find((one) => one.kind === file.kind)!;
      const { filename } = file;
      const caption = payload.caption ?? "";
      const redacted = mediaContent(kind, { id: mediaId }, { filename: "", caption: caption && lengthOf(caption) });
      return { ...mediaContent(kind, { id: mediaId }, { filename, caption }), redacted: redacted.object };
    }
    default:
      return payload satisfies never;
  }
}

function templateParameters(parameters: readonly string[] | Readonly<Record<string, string>>) {
  if (Array.isArray(parameters)) return parameters.map((text: string) => ({ type: "text", text: text.toWellFormed() }));
  return Object.entries(parameters).map(([name, text]) => ({
    type: "text",
    parameter_name: name,
    text: text.toWellFormed(),
  }));
}
