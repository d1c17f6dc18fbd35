/** Webhooks of platforms: stored as they came, then read. */
export {
  countFailedWebhooks,
  type FailedWebhook,
  failedWebhookCode,
  failWebhook,
  listFailedWebhooks,
  takeFailedWebhooks,
} from "./failed-webhooks.ts";
export { receiveWebhooks } from "./receive.ts";
export { openWebhookStore, type WebhookStore } from "./webhook-store.ts";
export { type InboundRecord, webhookRetentionMs } from "./webhooks.ts";
