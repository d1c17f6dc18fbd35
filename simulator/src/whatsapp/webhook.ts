import { createHmac } from "node:crypto";
import type { WebhookEvent, WebhookRules } from "../webhooks/event.ts";
import type { WhatsAppAccount, WhatsAppFields } from "./account.ts";

const minuteMs = 60_000;
const dayMs = 24 * 60 * minuteMs;

/** Longest wait between two tries. The platform publishes only "with decreasing frequency". */
const maxRetryMs = 60 * minuteMs;

/** How the platform sends its webhooks. Source: WhatsApp Cloud API, webhooks; the retry steps are ours. */
export const webhookRules: WebhookRules = {
  order: "batches",
  inFlight: () => 16,
  accepts: (status) => status === 200,
  retryDelayMs: (failures) => (failures === 1 ? 0 : Math.min(maxRetryMs, 1000 * 2 ** Math.min(failures - 2, 20))),
  maxRetryAfterMs: 0,
  expiresMs: 7 * dayMs,
  request(account, events) {
    const { fields } = account as WhatsAppAccount;
    const body = asciiJson(
      envelope(
        fields,
        events.map((event) => event.body as EventBody),
      ),
    );
    const headers = {
      "content-type": "application/json",
      "user-agent": "facebookexternalua",
      ...signatureHeaders(body, fields.app_secret),
    };
    return { body, headers };
  },
};

/** Neighbouring statuses share a change, each message has its own. Source: WhatsApp Cloud API, webhooks, `messages`. */
function envelope(fields: WhatsAppFields, events: readonly EventBody[]): unknown {
  const changes: { field: "messages"; value: Record<string, unknown> }[] = [];
  const newChange = (content: Record<string, unknown>) =>
    changes.push({
      field: "messages",
      value: {
        messaging_product: "whatsapp",
        metadata: { display_phone_number: fields.display_phone_number, phone_number_id: fields.phone_number_id },
        ...content,
      },
    });
  let statuses: StatusChange | undefined;
  for (const event of events) {
    if (event.kind === "message") {
      newChange({ contacts: [event.contact], messages: [event.message] });
      statuses = undefined;
      continue;
    }
    if (!statuses) {
      statuses = { contacts: [], statuses: [], known: new Set() };
      newChange({ contacts: statuses.contacts, statuses: statuses.statuses });
    }
    addStatus(statuses, event);
  }
  for (const { value } of changes) if ((value.contacts as unknown[]).length === 0) delete value.contacts;
  return { object: "whatsapp_business_account", entry: [{ id: fields.waba_id, changes }] };
}

interface StatusChange {
  contacts: Contact[];
  statuses: unknown[];
  known: Set<string | undefined>;
}

function addStatus(change: StatusChange, event: EventBody & { kind: "status" }): void {
  const { waId, userId } = event.sent;
  change.statuses.push(statusObject(event));
  if (event.status === "failed" || change.known.has(waId ?? userId)) return;
  change.known.add(waId ?? userId);
  change.contacts.push(contactOf(waId, userId));
}

function statusObject({ sent, status, at, failure }: EventBody & { kind: "status" }): unknown {
  const timestamp = Math.floor(at / 1000);
  const isSent = status === "sent";
  const category = sent.isTemplate ? "utility" : "service";
  return {
    id: sent.id,
    status,
    timestamp: String(timestamp),
    recipient_id: sent.waId,
    recipient_user_id: sent.userId,
    biz_opaque_callback_data: sent.data,
    conversation: isSent ? conversation(sent, timestamp, category) : undefined,
    pricing: isSent ? { billable: false, pricing_model: "PMP", type: "free_customer_service", category } : undefined,
    errors: failure ? [errorObject(failure)] : undefined,
  };
}

function conversation(sent: Sent, timestamp: number, category: string): unknown {
  return {
    id: (sent.waId ?? "").padStart(32, "0"),
    expiration_timestamp: String(timestamp + dayMs / 1000),
    origin: { type: category },
  };
}

function errorObject({ code, title, details }: Failure): unknown {
  const href = "https://developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes/";
  return { code, title, message: title, error_data: { details }, href };
}

/**
 * JSON as the platform sends and signs it: ASCII only, every other UTF-16 unit as `\uXXXX` in lower-case hex, and `/`
 * as `\/`. Source: Graph API, webhooks, payload signatures.
 */
export function asciiJson(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value).replace(/[/\u0080-\uffff]/g, escapeUnit), "latin1");
}

export function signatureHeaders(body: Buffer, appSecret: string): Record<string, string> {
  return {
    "x-hub-signature-256": `sha256=${createHmac("sha256", appSecret).update(body).digest("hex")}`,
    "x-hub-signature": `sha1=${createHmac("sha1", appSecret).update(body).digest("hex")}`,
  };
}

function escapeUnit(unit: string): string {
  return unit === "/" ? "\\/" : `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
}

/** A message that the platform accepted, as far as its receipts need it. */
export interface Sent {
  id: string;
  waId: string | undefined;
  userId: string | undefined;
  data: string | undefined;
  isTemplate: boolean;
}

export interface Failure {
  code: number;
  title: string;
  details: string;
}

export type EventBody =
  | { kind: "status"; sent: Sent; status: string; at: number; failure?: Failure | undefined }
  | { kind: "message"; contact: Contact; message: Record<string, unknown> };

interface Contact {
  profile: { name: string; username?: string };
  wa_id?: string;
  user_id?: string;
}

export type WhatsAppEvent = WebhookEvent & { body: EventBody };

/** Failures that the platform reports later, by a status. Source: WhatsApp Cloud API, error codes. */
export const failures = {
  undeliverable: { code: 131026, title: "Message undeliverable", details: "Message Undeliverable." },
  windowClosed: {
    code: 131047,
    title: "Re-engagement message",
    details:
      "Message failed to send because more than 24 hours have passed since the customer last replied to this number.",
  },
  media: { code: 131053, title: "Media upload error", details: "Media upload error." },
} as const satisfies Record<string, Failure>;

export function contactOf(waId: string | undefined, userId: string | undefined, name?: string): Contact {
  const shown = name ?? `Person ${(waId ?? userId ?? "").slice(-4)}`;
  if (waId !== undefined) return { profile: { name: shown }, wa_id: waId };
  const username = `person.${userId?.slice(-6).toLowerCase()}`;
  return { profile: { name: shown, username }, ...(userId === undefined ? {} : { user_id: userId }) };
}
