import { setImmediate as othersTurn } from "node:timers/promises";
import { applyReceipts, type Receipt } from "../deliveries/deliveries.ts";
import { openBatcher } from "../lib/batcher.ts";
import { newId } from "../lib/ids.ts";
import { inParts } from "../lib/in-parts.ts";
import { topics } from "../topics.ts";
import type { ReceiveDeps } from "./inbound-message.ts";
import { longBytes, type ReadWebhook, readWebhook } from "./read-webhook.ts";
import { compress, type KeptWebhook, publishWebhooks, storing, type Webhook } from "./webhooks.ts";

export interface WebhookStore {
  /** Resolves when the webhook is durable. Throws `BatcherFull` when too many wait. */
  keep(webhook: Webhook): Promise<void>;
  idle(): Promise<void>;
}

interface StoreDeps extends Omit<ReceiveDeps, "acceptor" | "taskNotifier"> {
  /** Apply receipts in the commit that stores their webhook; otherwise the step `receive` does it. */
  isFused: boolean;
}

const batchSize = 200;
/** Webhooks that may wait for a commit; platforms send a refused one again. */
const maxWaiting = 5_000;
const maxWaitMs = 2_000;
const paceMs = 20;
/** A longer webhook waits on the bus: applying its receipts would delay the response to those beside it. */
const mostBytes = 256 * 1024;
/** Bytes of several webhooks in one statement: encoding them takes milliseconds. */
const maxPartBytes = 512 * 1024;
/** What a receipt weighs among these bytes, so that a statement has at most 512. */
const receiptBytes = 1024;

/** A webhook with receipts alone. */
interface ReadReceipts {
  webhook: KeptWebhook;
  receipts: Receipt[];
}

/** Stores webhooks as they came, many in a commit, and applies their receipts or publishes them for `receive`. */
export function openWebhookStore(deps: StoreDeps): WebhookStore {
  const { db, bus, clock, eventNotifier, log } = deps;
  const batcher = openBatcher<Webhook, void>({
    maxBatch: batchSize,
    maxWaiting,
    maxWaitMs,
    paceMs,
    clock,
    run: async (webhooks) => {
      const kept = webhooks.map((webhook) => ({ ...webhook, webhookId: newId(clock.now()) }));
      const { toApply, toPublish } = await divide(kept);
      await publish(toPublish);
      const size = ({ webhook, receipts }: ReadReceipts) =>
        Math.max(webhook.rawBody.length, receipts.length * receiptBytes);
      for (const some of inParts(toApply, size, maxPartBytes)) await apply(some);
      return webhooks.map(() => undefined);
    },
  });

  async function divide(webhooks: readonly KeptWebhook[]) {
    const toApply: ReadReceipts[] = [];
    const toPublish: KeptWebhook[] = [];
    let bytes = 0;
    for (const webhook of webhooks) {
      const { length } = webhook.rawBody;
      const read = deps.isFused && length <= mostBytes ? await tryToRead(webhook) : null;
      if (read === null || read.messages.length > 0) toPublish.push(webhook);
      else toApply.push({ webhook, receipts: read.receipts });
      bytes += length;
      if (bytes <= longBytes) continue;
      bytes = 0;
      await othersTurn();
    }
    return { toApply, toPublish };
  }

  /** Null when it cannot be read: the step tries again, and makes it a dead letter at last. */
  function tryToRead(webhook: KeptWebhook): Promise<ReadWebhook | null> {
    return readWebhook(deps, webhook).catch((error) => {
      const { webhookId: webhook_id } = webhook;
      log.warn({ err: error, webhook_id }, "a webhook could not be read at once; it waits on the bus");
      return null;
    });
  }

  async function publish(webhooks: readonly KeptWebhook[]): Promise<void> {
    for (const some of inParts(webhooks, ({ rawBody }) => rawBody.length, maxPartBytes))
      await publishWebhooks(db, bus, some, new Date(clock.now()));
    if (webhooks.length > 0) bus.wake(topics.inbound);
  }

  /** A webhook whose receipts cannot be applied is published: the step applies them, or says why it cannot. */
  async function apply(some: readonly ReadReceipts[]): Promise<void> {
    const webhooks = some.map(({ webhook }) => webhook);
    const receipts = some.flatMap((one) => one.receipts);
    try {
      const stored = await Promise.all(webhooks.map(compress));
      await applyReceipts(deps, receipts, storing(stored, new Date(clock.now())));
    } catch (error) {
      const { length } = webhooks;
      log.warn({ err: error, webhooks: length }, "receipts could not be applied at once; they wait on the bus");
      await publish(webhooks);
    }
    if (receipts.length === 0) return;
    for (const workspaceId of new Set(webhooks.map((webhook) => webhook.workspaceId)))
      eventNotifier.notify(workspaceId);
  }

  return { keep: batcher.submitOne, idle: batcher.idle };
}
