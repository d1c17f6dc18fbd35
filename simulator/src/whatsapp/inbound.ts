import type { Inbound, InboundPayload } from "../face.ts";
import { invalid } from "../problem.ts";
import type { World } from "../world.ts";
import type { WhatsAppAccount } from "./account.ts";
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
    ...contentOf(world, input.payload),
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

function contentOf(world: World, payload: InboundPayload): Record<string, unknown> {
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
      return media(world, payload);
  }
}

/** The shell of a file: there are no bytes to fetch behind its id. */
function media(world: World, file: InboundPayload & { type: "file" }): Record<string, unknown> {
  const group = file.content_type.split("/", 1)[0] ?? "";
  const type =
    file.content_type === "image/webp" ? "sticker" : /^(?:image|audio|video)$/.test(group) ? group : "document";
  const sha256 = Buffer.from(world.random.hex(64), "hex").toString("base64");
  const id = String(1_000_000_000_000_000 + Math.floor(world.random.next() * 1e15));
  const takesCaption = type !== "audio" && type !== "sticker";
  return {
    type,
    [type]: {
      mime_type: file.content_type,
      sha256,
      id,
      ...(type === "document" && file.filename !== undefined ? { filename: file.filename } : {}),
      ...(takesCaption && file.caption !== undefined ? { caption: file.caption } : {}),
    },
  };
}

/** `from` is the author of what is quoted: the business when the message is one that it sent. */
function quote(world: World, account: WhatsAppAccount, id: string, waId: string | undefined): unknown {
  const isOurs = world.messages.find("whatsapp", id) !== undefined;
  const from = isOurs ? account.fields.display_phone_number : waId;
  return from === undefined ? { id } : { from, id };
}
