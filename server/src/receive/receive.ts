import type { Bus, BusRecord } from "../bus/bus.ts";
import type { ChannelAccount, Connector, InboundEvent } from "../connectors/connector.ts";
import type { News } from "../events/events.ts";
import type { Clock } from "../lib/clock.ts";
import type { Log, Pool } from "../lib/postgres.ts";
import type { Acceptor } from "../messages/accept.ts";
import { applyReceipts, type Receipt } from "../receipts/receipts.ts";
import { type InboundRecord, type KeptWebhook, loadWebhooks, noteWebhookError } from "../webhooks/webhooks.ts";
import { type InboundMessage, receiveMessages } from "./receive-messages.ts";

export interface ReceiveDeps {
  db: Pool;
  bus: Bus;
  news: News;
  clock: Clock;
  log: Log;
  acceptor: Acceptor;
  connectorFor: (channel: string) => Connector | undefined;
  findAccount: (channelAccountId: string) => Promise<(ChannelAccount & { workspaceId: string }) | null>;
}

/** Reads webhooks: receipts are merged into deliveries, what people wrote is accepted like any other message. */
export async function receiveWebhooks(deps: ReceiveDeps, records: readonly BusRecord<InboundRecord>[]): Promise<void> {
  const webhooks = await loadWebhooks(
    deps.db,
    records.map((record) => record.value.webhookId),
  );
  const receipts: Receipt[] = [];
  const messages: InboundMessage[] = [];
  for (const webhook of webhooks) {
    const account = await deps.findAccount(webhook.channelAccountId);
    const connector = account === null ? undefined : deps.connectorFor(account.channel);
    if (account === null || connector === undefined) {
      await noteWebhookError(deps.db, webhook.webhookId, "its channel account was deleted");
      continue;
    }
    for (const event of connector.parse({ headers: webhook.headers, rawBody: webhook.rawBody }, account.credentials)) {
      switch (event.kind) {
        case "receipt":
          receipts.push(toReceipt(webhook, event));
          break;
        case "message":
          messages.push({ webhook, channel: account.channel, event });
          break;
        case "ignored":
          deps.log.info(
            { webhook_id: webhook.webhookId, what: event.what },
            "a webhook told of something without effect",
          );
          break;
        default:
          event satisfies never;
      }
    }
  }
  await applyReceipts(deps, receipts);
  if (receipts.length > 0) for (const workspaceId of workspacesOf(webhooks)) deps.news.tell(workspaceId);
  await receiveMessages(deps, messages);
}

function workspacesOf(webhooks: readonly KeptWebhook[]): Set<string> {
  return new Set(webhooks.map(({ workspaceId }) => workspaceId));
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
