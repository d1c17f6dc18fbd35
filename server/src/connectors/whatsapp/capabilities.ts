import type { Capabilities } from "../connector.ts";
import { mediaKinds } from "./media.ts";

/** Source: WhatsApp Business Cloud API, pages Messages, Webhooks and Throughput, as of v25.0. */
export const capabilities = {
  payloads: ["text", "file", "location", "reaction", "template"],
  maxTextLength: 4096,
  media: mediaKinds,
  /** `delivered` may be skipped, `read` never comes from people who turned read receipts off. */
  receipts: ["sent", "delivered", "read"],
  replies: true,
  /** Throughput of a number, in and out together; up to 1000 after an automatic upgrade (set `rate_per_second`). */
  ratePerSecond: 80,
  /** The customer service window; outside it only templates are taken (error 131047). */
  windowHours: 24,
  /** `biz_opaque_callback_data` comes back in every status. */
  afterUnknown: "receipt",
  typing: "answer",
  readMarks: true,
} as const satisfies Capabilities;
