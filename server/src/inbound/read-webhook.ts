import { setImmediate as othersTurn } from "node:timers/promises";
import type { InboundEvent } from "../connectors/connector.ts";
import type { Receipt } from "../deliveries/deliveries.ts";
import type { InboundMessage, ReadDeps } from "./inbound-message.ts";
import type { KeptWebhook } from "./webhooks.ts";

export interface ReadWebhook {
  receipts: Receipt[];
  messages: InboundMessage[];
}

const readAtATime = 250;
/** Bytes of webhooks that are read in one turn of the event loop. */
export const longBytes = 16 * 1024;

/** What a webhook says, in parts, so that a long one does not block the event loop. Null without its channel account. */
export async function readWebhook(deps: ReadDeps, webhook: KeptWebhook): Promise<ReadWebhook | null> {
  const account = await deps.findAccount(webhook.channelAccountId);
  const connector = account === null ? undefined : deps.connectorFor(account.channel);
  if (account === null || connector === undefined) return null;
  const receipts: Receipt[] = [];
  const messages: InboundMessage[] = [];
  const ignored: string[] = [];
  let read = 0;
  for (const event of connector.parse(webhook, account.credentials)) {
    if (event.kind === "receipt") receipts.push(toReceipt(webhook, event));
    else if (event.kind === "message") messages.push({ account, webhookId: webhook.webhookId, event });
    else ignored.push(event.what);
    read += 1;
    if (read % readAtATime === 0) await othersTurn();
  }
  if (ignored.length > 0) {
    const fields = { webhook_id: webhook.webhookId, what: ignored[0], count: ignored.length };
    deps.log.info(fields, "a webhook had no effect, or only some of its events had one");
  }
  if (webhook.rawBody.length > longBytes) await othersTurn();
  return { receipts, messages };
}

function toReceipt(webhook: KeptWebhook, event: InboundEvent & { kind: "receipt" }): Receipt {
  return {
    channelAccountId: webhook.channelAccountId,
    providerMessageId: event.providerMessageId,
    deliveryId: event.deliveryId,
    status: event.status,
    error: event.error === null ? null : { code: event.error.reason, message: event.error.detail },
    at: new Date(event.at),
    webhookId: webhook.webhookId,
  };
}
