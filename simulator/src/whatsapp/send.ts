import { type Answer, json, type Refusal, receive, retryAfterSeconds, runCall } from "../calls.ts";
import type { Fault } from "../faults.ts";
import { isRecord } from "../fields.ts";
import type { Media } from "../media/media-store.ts";
import { mediaOf } from "../messages.ts";
import { type Content, readContent } from "./content.ts";
import type { GraphCall } from "./graph.ts";
import { badParameter, badValue, GraphError, missing, toAnswer } from "./graph-error.ts";
import { planLinkTimeout, settleLink } from "./link.ts";
import { findMedia, typeProblem } from "./media.ts";
import { identifierOf, notOnWhatsApp, type Person, readPerson } from "./people.ts";
import { planReceipts, receiptEvents, sentBy } from "./receipts.ts";
import { newMessageId, type WhatsAppState, windowMs } from "./state.ts";
import { type Failure, failures } from "./webhook.ts";

/** Longest `biz_opaque_callback_data`, in bytes. Source: WhatsApp Cloud API, messages. */
const maxCallbackDataBytes = 512;

export function postMessages(call: GraphCall): Answer | Promise<Answer> {
  const { fields, state } = call;
  if (fields.messaging_product !== "whatsapp") {
    throw new GraphError(400, 100, "(#100) The parameter messaging_product is required.");
  }
  if (fields.status !== undefined) return markRead(call);
  const { person, input } = readRecipient(fields);
  const refusal = (why: Refusal, fault?: Fault) => refuse(state, why, fault);
  const rules = { channel: "whatsapp", call: "send", refuse: refusal } as const;
  return runCall(state.world, rules, identifierOf(person), () => accept(call, person, input));
}

function accept(call: GraphCall, person: Person, input: string): Answer {
  const { account, fields, state } = call;
  const { world } = state;
  const content = readContent(fields, account.fields.templates);
  checkEnvelope(fields);
  const { media: part } = content;
  const media = part?.id === undefined ? undefined : findMedia(state, account, content.kind, part.id);
  if (person.kind === "phone" && person.digits === account.fields.display_phone_number) {
    throw new GraphError(400, 131021, "(#131021) Recipient cannot be sender", {
      details: "Recipient cannot be the sender.",
    });
  }
  const settings = world.settings.of("whatsapp");
  if (!state.throughput(account.id, settings.throughput_per_second)) return refuse(state, "rate_limit", undefined);

  const now = world.now();
  const to = identifierOf(person);
  const id = newMessageId(world.random, person.kind === "phone" ? person.waId : person.userId);
  const failure = failureOf(call, person, content) ?? (media && wrongType(content.kind, media));
  const link = failure ? undefined : part?.link;
  const plan = link === undefined ? planReceipts(settings, content.kind, now, failure) : planLinkTimeout(now);
  const promised = account.webhookUrl === undefined ? 0 : plan.statuses.length;
  const message = {
    channel: "whatsapp",
    account: account.id,
    to,
    provider_message_id: id,
    kind: content.kind,
    text: content.text,
    media: part && mediaOf(media, content.text, part.filename),
    raw: withoutToken(fields),
    received_at: new Date(now).toISOString(),
  };
  const { stored, firstNumber } = receive(world, message, id, {
    webhooks: promised,
    value: promised > 0 ? plan : null,
  });
  const sent = sentBy(id, person, fields.biz_opaque_callback_data as string | undefined, content.kind);
  const events = promised > 0 ? receiptEvents(account.id, to, sent, plan, firstNumber) : [];
  for (const event of events) world.webhooks.promise(event);
  if (link !== undefined) void settleLink(state, { message, stored, sent, timeout: events, link });
  return json(200, {
    messaging_product: "whatsapp",
    contacts: [person.kind === "phone" ? { input, wa_id: person.waId } : { input, user_id: person.userId }],
    messages: [content.kind === "template" ? { id, message_status: "accepted" } : { id }],
  });
}

function wrongType(kind: string, { mime_type }: Media): Failure | undefined {
  const details = typeProblem(kind, mime_type);
  return details === undefined ? undefined : { ...failures.media, details };
}

/** What the platform finds out only after it has said yes. */
function failureOf({ state, account }: GraphCall, person: Person, content: Content): Failure | undefined {
  const { world, blocked, lastWrittenAt } = state;
  const name = person.kind === "phone" ? person.waId : person.userId;
  const isBlocked = blocked.size > 0 && blocked.has(`${account.id} ${name}`);
  if (isBlocked || name.startsWith(notOnWhatsApp)) return failures.undeliverable;
  if (content.kind === "template") return undefined;
  if (world.faults.hit("whatsapp", ["window_closed"], identifierOf(person), "send")) return failures.windowClosed;
  if (!world.settings.of("whatsapp").enforce_window) return undefined;
  const writtenAt = lastWrittenAt.get(`${account.id} ${name}`) ?? Number.NEGATIVE_INFINITY;
  return world.now() - writtenAt > windowMs ? failures.windowClosed : undefined;
}

/** `to` wins over `recipient`. Source: WhatsApp Cloud API, business-scoped user ids. */
function readRecipient(fields: Record<string, unknown>): { person: Person; input: string } {
  const { to, recipient } = fields;
  const input = to ?? recipient;
  if (input === undefined || input === "") throw missing("to");
  const text = typeof input === "number" ? String(input) : input;
  const person = typeof text === "string" && !text.startsWith("whatsapp:") ? readPerson(text) : undefined;
  if (!person) throw badValue(`${to === undefined ? "recipient" : "to"} is not a phone number or a user id.`);
  return { person, input: text as string };
}

function withoutToken(fields: Record<string, unknown>): Record<string, unknown> {
  if (fields.access_token === undefined) return fields;
  const { access_token: _, ...rest } = fields;
  return rest;
}

function checkEnvelope(fields: Record<string, unknown>): void {
  const { recipient_type, context, biz_opaque_callback_data: data } = fields;
  if (recipient_type !== undefined && recipient_type !== "individual") {
    throw badValue("recipient_type must be individual: this number has no groups.");
  }
  if (context !== undefined && !(isRecord(context) && typeof context.message_id === "string")) {
    throw missing("context.message_id");
  }
  if (data === undefined) return;
  if (typeof data !== "string" || Buffer.byteLength(data) > maxCallbackDataBytes) {
    throw badParameter(`biz_opaque_callback_data must be a string of at most ${maxCallbackDataBytes} bytes.`);
  }
}

/** Also shows typing if the request asks for it. The sender of a message of an earlier run is unknown. */
function markRead({ fields, state, account }: GraphCall): Answer {
  if (fields.status !== "read") throw badValue("status must be read.");
  if (typeof fields.message_id !== "string" || fields.message_id === "") throw missing("message_id");
  const typing = fields.typing_indicator;
  if (typing !== undefined && !(isRecord(typing) && typing.type === "text")) {
    throw badValue("typing_indicator.type must be text.");
  }
  const { message_id: provider_message_id } = fields;
  const to = state.written.get(provider_message_id) ?? null;
  const received_at = new Date(state.world.now()).toISOString();
  const signal = { channel: "whatsapp", account: account.id, to, provider_message_id, received_at };
  state.world.signals.add({ ...signal, kind: "read" });
  if (typing !== undefined) state.world.signals.add({ ...signal, kind: "typing" });
  return json(200, { success: true });
}

function refuse({ world }: WhatsAppState, refusal: Refusal, fault: Fault | undefined): Answer {
  return toAnswer(refusalError(refusal, fault), world.random);
}

function refusalError(refusal: Refusal, fault: Fault | undefined): GraphError {
  switch (refusal) {
    case "rate_limit":
      return new GraphError(429, 130429, "(#130429) Rate limit hit", {
        details: "Message failed to send because there were too many messages sent from this phone number.",
        headers: { "retry-after": String(retryAfterSeconds(fault)) },
      });
    case "server_error":
      return new GraphError(500, 131000, "(#131000) Something went wrong", {
        details: "Message failed to send due to an unknown error.",
      });
    case "permanent": {
      const code = fault?.code ?? 131026;
      const message = code === 131026 ? "Message undeliverable" : "Message cannot be sent";
      return new GraphError(400, code, `(#${code}) ${message}`, { details: `${message}.` });
    }
    case "overloaded":
      return new GraphError(503, 131016, "(#131016) Service unavailable", {
        details: "Too many webhooks wait for this business: its endpoint does not take them.",
        headers: { "retry-after": "1" },
      });
  }
}
