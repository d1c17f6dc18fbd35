import type { BusRecord } from "../bus/bus.ts";
import { applyReceipts, type Receipt } from "../deliveries/deliveries.ts";
import { inParts } from "../lib/in-parts.ts";
import type { InboundMessage, ReceiveDeps } from "./inbound-message.ts";
import { readWebhook } from "./read-webhook.ts";
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
    const events = await readWebhook(deps, webhook);
    if (events === null) await noteWebhookError(deps.db, webhook.webhookId, "its channel account was deleted");
    for (const receipt of events?.receipts ?? []) receipts.push(receipt);
    for (const message of events?.messages ?? []) messages.push(message);
  }
  for (const some of inParts(receipts, () => 1, receiptsAtATime)) await applyReceipts(deps, some);
  const workspaces = new Set(receipts.length === 0 ? [] : webhooks.map(({ workspaceId }) => workspaceId));
  for (const workspaceId of workspaces) deps.eventNotifier.notify(workspaceId);
  await receiveByAccount(deps, messages);
}

const receiptsAtATime = 500;

/** Of one call; several calls run at once. */
const accountsAtOnce = 2;

async function receiveByAccount(deps: ReceiveDeps, messages: readonly InboundMessage[]): Promise<void> {
  const waiting = [...Map.groupBy(messages, ({ account }) => account.channelAccountId).values()];
  // The account with the fewest messages first, so that a busy one does not delay the others.
  waiting.sort((one, other) => one.length - other.length);
  async function work(): Promise<void> {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) await receiveMessages(deps, next);
  }
  const works = await Promise.allSettled(Array.from({ length: accountsAtOnce }, work));
  for (const one of works) if (one.status === "rejected") throw one.reason;
}
