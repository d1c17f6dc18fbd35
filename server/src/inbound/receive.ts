import { setImmediate as othersTurn } from "node:timers/promises";
import type { BusRecord } from "../bus/bus.ts";
import type { InboundEvent } from "../connectors/connector.ts";
import { applyReceipts, type Receipt } from "../deliveries/deliveries.ts";
import type { InboundMessage, ReceiveDeps } from "./inbound-message.ts";
import { receiveMessages } from "./receive-messages.ts";
import { type InboundRecord, type KeptWebhook, loadWebhooks, noteWebhookError } from "./webhooks.ts";

/**
 * Reads webhooks: merges receipts into deliveries, and accepts messages of people. Loads, reads and handles them in
 * parts, so that long ones do not block the event loop.
 */
export async function receiveWebhooks(deps: ReceiveDeps, records: readonly BusRecord<InboundRecord>[]): Promise<void> {
  let left = records.map((record) => record.value.webhookId);
  while (left.length > 0) {
    const { webhooks, count } = await loadWebhooks(deps.db, left);
    await receiveLoaded(deps, webhooks);
    left = left.slice(count);
  }
}

async function receiveLoaded(deps: ReceiveDeps, webhooks: readonly KeptWebhook[]): Promise<void> {
  const receipts: Receipt[] = [];
  const messages: InboundMessage[] = [];
  for (const webhook of webhooks) {
    const account = await deps.findAccount(webhook.channelAccountId);
    const connector = account === null ? undefined : deps.connectorFor(account.channel);
    if (account === null || connector === undefined) {
      await noteWebhookError(deps.db, webhook.webhookId, "its channel account was deleted");
      continue;
    }
    const ignored: string[] = [];
    let read = 0;
    const request = { headers: webhook.headers, rawBody: webhook.rawBody };
    for (const event of connector.parse(request, account.credentials)) {
      if (event.kind === "receipt") receipts.push(toReceipt(webhook, event));
      else if (event.kind === "message") messages.push({ webhook, channel: account.channel, event });
      else ignored.push(event.what);
      read += 1;
      if (read % readAtATime === 0) await othersTurn();
    }
    if (ignored.length > 0) {
      const [what] = ignored;
      deps.log.info(
        { webhook_id: webhook.webhookId, what, count: ignored.length },
        "a webhook had no effect, or only some of its events had one",
      );
    }
    if (webhook.rawBody.length > longBytes) await othersTurn();
  }
  for (let from = 0; from < receipts.length; from += receiptsAtATime) {
    await applyReceipts(deps, receipts.slice(from, from + receiptsAtATime));
  }
  const workspaces = new Set(receipts.length === 0 ? [] : webhooks.map(({ workspaceId }) => workspaceId));
  for (const workspaceId of workspaces) deps.eventNotifier.notify(workspaceId);
  await receiveByAccount(deps, messages);
}

const readAtATime = 250;
/** Bytes of webhooks read in one turn of the event loop. */
const longBytes = 16 * 1024;
const receiptsAtATime = 500;

/** Of one call; several calls run at once. */
const accountsAtOnce = 2;

async function receiveByAccount(deps: ReceiveDeps, messages: readonly InboundMessage[]): Promise<void> {
  const waiting = [...Map.groupBy(messages, ({ webhook }) => webhook.channelAccountId).values()];
  // The account with the fewest messages first, so that a busy one does not delay the others.
  waiting.sort((one, other) => one.length - other.length);
  async function work(): Promise<void> {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) await receiveMessages(deps, next);
  }
  const works = await Promise.allSettled(Array.from({ length: accountsAtOnce }, work));
  for (const one of works) if (one.status === "rejected") throw one.reason;
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
