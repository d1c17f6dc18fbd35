import { readMessage, type StoredMessage } from "../messages.ts";
import type { ChannelSettings } from "../settings.ts";
import type { WebhookEvent } from "../webhooks/event.ts";
import { type Person, readPerson } from "./people.ts";
import type { EventBody, Failure, Sent } from "./webhook.ts";

/** Which statuses follow a message, and how far apart. Journaled with the message. */
export interface ReceiptPlan {
  statuses: string[];
  delay_ms: number;
  at: number;
  failure?: Failure;
}

const steps = ["sent", "delivered", "read"];

/** A failure is the only status; a reaction is never delivered or read. Source: WhatsApp Cloud API, messages. */
export function planReceipts(
  settings: ChannelSettings,
  kind: string,
  at: number,
  failure: Failure | undefined,
): ReceiptPlan {
  const delay_ms = settings.receipt_delay_ms;
  if (failure) return { statuses: ["failed"], delay_ms, at, failure };
  const { auto_receipts } = settings;
  const reach = auto_receipts === true ? 3 : auto_receipts === false ? 0 : steps.indexOf(auto_receipts) + 1;
  return { statuses: steps.slice(0, kind === "reaction" ? Math.min(reach, 1) : reach), delay_ms, at };
}

export function receiptEvents(
  account: string,
  person: string,
  sent: Sent,
  plan: ReceiptPlan,
  firstNumber: number,
): WebhookEvent[] {
  return plan.statuses.map((status, index) => {
    const at = plan.at + plan.delay_ms * (index + 1);
    const body: EventBody = { kind: "status", sent, status, at, failure: plan.failure };
    return { number: firstNumber + index, channel: "whatsapp", account, person, happenedAt: at, dueAt: at, body };
  });
}

export function sentOf(message: StoredMessage): Sent {
  const { raw, kind } = readMessage(message);
  const { biz_opaque_callback_data: data } = raw as { biz_opaque_callback_data?: string };
  return sentBy(message.key, readPerson(message.to), data, kind);
}

export function sentBy(id: string, person: Person | undefined, data: string | undefined, kind: string): Sent {
  return {
    id,
    waId: person?.kind === "phone" ? person.waId : undefined,
    userId: person?.kind === "user" ? person.userId : undefined,
    data,
    isTemplate: kind === "template",
  };
}
