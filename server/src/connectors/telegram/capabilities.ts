import type { Capabilities } from "../connector.ts";
import { mediaKinds } from "./media.ts";

/** Source: Telegram Bot API 10, methods `sendMessage` and `setMessageReaction`, and the Bots FAQ for the limits. */
export const capabilities = {
  payloads: ["text", "file", "location", "reaction"],
  /** `text`, 1 to 4096 characters after entities are parsed; texts are sent without markup. */
  maxTextLength: 4096,
  media: mediaKinds,
  receipts: ["sent"],
  replies: true,
  /** For all chats together. One chat takes about one message a second, a group 20 a minute. */
  ratePerSecond: 30,
  windowHours: null,
  /** Telegram returns no id of ours, so a lost response can only be retried. */
  afterUnknown: "resend",
  typing: "always",
  readMarks: false,
} as const satisfies Capabilities;
