import type { WebhookRules } from "../webhooks/event.ts";
import type { WhatsAppAccount, WhatsAppFields } from "./account.ts";
import { type Contact, contactOf, type EventBody, type Failure, type Sent } from "./events.ts";
import { asciiJson, signatureHeaders } from "./signature.ts";

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;

/** Longest wait between two tries. The platform publishes only "with decreasing frequency". */
const MAX_RETRY_MS = 60 * MINUTE_MS;

/** How the platform sends its webhooks. Source: WhatsApp Cloud API, webhooks; the retry steps are ours. */
export const webhookRules: WebhookRules = {
  order: "batches",
  inFlight: () => 16,
  accepts: (status) => status === 200,
  retryDelayMs: (failures) => (failures === 1 ? 0 : Math.min(MAX_RETRY_MS, 1000 * 2 ** Math.min(failures - 2, 20))),
  maxRetryAfterMs: 0,
  expiresMs: 7 * DAY_MS,
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

/**
 * The POST's body: neighbouring statuses share a change, each message has its own. Source: WhatsApp Cloud API,
 * webhooks, `messages`.
 */
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

/** Fields that are undefined are left out of the JSON. */
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
    expiration_timestamp: String(timestamp + DAY_MS / 1000),
    origin: { type: category },
  };
}

function errorObject({ code, title, details }: Failure): unknown {
  const href = "https://developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes/";
  return { code, title, message: title, error_data: { details }, href };
}
