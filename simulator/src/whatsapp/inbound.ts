import type { Inbound, InboundFile, InboundPayload } from "../face.ts";
import { invalid } from "../problem.ts";
import type { World } from "../world.ts";
import type { WhatsAppAccount } from "./account.ts";
import { keepMedia, kindOf, maxMediaBytes } from "./media.ts";
import { readPerson } from "./people.ts";
import { newMessageId, type WhatsAppState } from "./state.ts";
import { contactOf, type EventBody } from "./webhook.ts";

/** A person writes to the number: one webhook, due at once. Source: WhatsApp Cloud API, webhooks, `messages`. */
export function personWrites(state: WhatsAppState, account: WhatsAppAccount, input: Inbound): Record<string, unknown> {
  const { world, lastWrittenAt } = state;
  const person = readPerson(input.person);
  if (!person) throw invalid(`from must be a phone number or a business-scoped user id`);
  const waId = person.kind === "phone" ? person.waId : undefined;
  const userId = person.kind === "user" ? person.userId : undefined;
  const now = world.now();
  const id = newMessageId(world.random, waId ?? userId ?? "");
  const message = {
    ...(waId === undefined ? { from_user_id: userId } : { from: waId }),
    id,
    timestamp: String(Math.floor(now / 1000)),
    ...contentOf(state, account, input.payload),
    ...(input.replyTo === undefined ? {} : { context: quote(world, account, input.replyTo, waId) }),
  };
  const body: EventBody = { kind: "message", contact: contactOf(waId, userId, input.name), message };
  const event = {
    number: world.webhooks.reserve(1),
    channel: "whatsapp",
    account: account.id,
    person: input.person,
    happenedAt: now,
    dueAt: now,
    body,
  };
  lastWrittenAt.set(`${account.id} ${waId ?? userId}`, now);
  state.written.set(id, input.person);
  world.journal.webhook(event);
  world.webhooks.promise(event);
  return { provider_message_id: id };
}

function contentOf(state: WhatsAppState, account: WhatsAppAccount, payload: InboundPayload): Record<string, unknown> {
  switch (payload.type) {
    case "text":
      return { type: "text", text: { body: payload.text } };
    case "location": {
      const { latitude, longitude, name } = payload;
      return { type: "location", location: { latitude, longitude, ...(name === undefined ? {} : { name }) } };
    }
    case "reaction": {
      const { message_id, emoji } = payload;
      return { type: "reaction", reaction: emoji === "" ? { message_id } : { message_id, emoji } };
    }
    case "file":
      return media(state, account, payload);
  }
}

function media(state: WhatsAppState, account: WhatsAppAccount, file: InboundFile): Record<string, unknown> {
  const { content_type, filename, caption, upload } = file;
  if (upload.bytes > maxMediaBytes) return { type: "unsupported", unsupported: { type: "media" }, errors: [tooBig] };
  const type = kindOf(content_type);
  const mime_type = content_type === "audio/ogg" ? "audio/ogg; codecs=opus" : content_type;
  const kept = keepMedia(state, account, upload, {
    kind: type,
    mime_type,
    filename: filename ?? null,
    isInbound: true,
  });
  const takesCaption = type !== "audio" && type !== "sticker";
  return {
    type,
    [type]: {
      mime_type,
      sha256: Buffer.from(kept.sha256, "hex").toString("base64"),
      id: kept.id,
      ...(type === "audio" ? { voice: content_type.startsWith("audio/ogg") } : {}),
      ...(type === "sticker" ? { animated: false } : {}),
      ...(type === "document" && filename !== undefined ? { filename } : {}),
      ...(takesCaption && caption !== undefined ? { caption } : {}),
    },
  };
}

/** In place of a larger file. Source: WhatsApp Cloud API, media, maximum file size. */
const tooBig = {
  code: 131052,
  title: "Media file size too big",
  message: "Media file size too big",
  error_data: {
    details:
      "Max file size we currently support: 100MB. Please communicate with your customer to send a media file that is smaller than 100MB",
  },
};

/** `from` is the author of what is quoted: the business when the message is one that it sent. */
function quote(world: World, account: WhatsAppAccount, id: string, waId: string | undefined): unknown {
  const isOurs = world.messages.find("whatsapp", id) !== undefined;
  const from = isOurs ? account.fields.display_phone_number : waId;
  return from === undefined ? { id } : { from, id };
}
