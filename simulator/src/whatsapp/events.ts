import type { WebhookEvent } from "../webhooks/event.ts";

/** A message that the platform accepted, as far as its receipts need it. */
export interface Sent {
  id: string;
  waId: string | undefined;
  userId: string | undefined;
  /** `biz_opaque_callback_data`. */
  data: string | undefined;
  isTemplate: boolean;
}

/** Why a message failed. */
export interface Failure {
  code: number;
  title: string;
  details: string;
}

/** What the platform tells: `at` in Unix milliseconds. */
export type EventBody =
  | { kind: "status"; sent: Sent; status: string; at: number; failure?: Failure | undefined }
  | { kind: "message"; contact: Contact; message: Record<string, unknown> };

/** Who a webhook is about. */
export interface Contact {
  profile: { name: string; username?: string };
  wa_id?: string;
  user_id?: string;
}

/** A webhook event of this platform. */
export type WhatsAppEvent = WebhookEvent & { body: EventBody };

/** Failures that the platform tells later, by a status. Source: WhatsApp Cloud API, error codes. */
export const failures = {
  undeliverable: { code: 131026, title: "Message undeliverable", details: "Message Undeliverable." },
  windowClosed: {
    code: 131047,
    title: "Re-engagement message",
    details:
      "Message failed to send because more than 24 hours have passed since the customer last replied to this number.",
  },
} as const satisfies Record<string, Failure>;

/** Someone of whom nothing but the id is known. */
export function contactOf(waId: string | undefined, userId: string | undefined, name?: string): Contact {
  const shown = name ?? `Person ${(waId ?? userId ?? "").slice(-4)}`;
  if (waId !== undefined) return { profile: { name: shown }, wa_id: waId };
  const username = `person.${userId?.slice(-6).toLowerCase()}`;
  return { profile: { name: shown, username }, ...(userId === undefined ? {} : { user_id: userId }) };
}
