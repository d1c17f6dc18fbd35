import type { Bus } from "../bus/bus.ts";
import type { PipelineDb } from "../database-roles.ts";
import { openBatcher } from "../lib/batcher.ts";
import type { Clock } from "../lib/clock.ts";
import { type ChannelAccountId, newId } from "../lib/ids.ts";
import { inParts } from "../lib/in-parts.ts";
import { type OfPage, withinPage } from "../lib/page-bytes.ts";
import { allPrepared, type Db, run } from "../lib/query.ts";
import { topics } from "../topics.ts";

interface Webhook {
  workspaceId: string;
  channelAccountId: ChannelAccountId;
  /** Those that the parser may need; never the signature or a secret. */
  headers: Record<string, string>;
  rawBody: Buffer;
}

export interface InboundRecord {
  webhookId: string;
}

export interface WebhookStore {
  /** Resolves when the webhook is durable. Throws `BatcherFull` when too many wait. */
  keep(webhook: Webhook): Promise<void>;
  idle(): Promise<void>;
}

const batchSize = 200;
/** Webhooks that may wait for a commit; platforms send a refused one again. */
const maxWaiting = 5_000;
const maxWaitMs = 2_000;
const paceMs = 5;

/** Stores webhooks as they came, many in a commit, and publishes them for `receive`. */
export function openWebhookStore({ db, bus, clock }: { db: PipelineDb; bus: Bus; clock: Clock }): WebhookStore {
  const batcher = openBatcher<Webhook, void>({
    maxBatch: batchSize,
    maxWaiting,
    maxWaitMs,
    paceMs,
    clock,
    run: async (webhooks) => {
      for (const some of inParts(webhooks, ({ rawBody }) => rawBody.length, maxPartBytes))
        await insertWebhooks(db, bus, some, clock.now());
      bus.wake(topics.inbound);
      return webhooks.map(() => undefined);
    },
  });
  return {
    keep: async (webhook) => void (await batcher.submit([webhook])),
    idle: () => batcher.idle(),
  };
}

/** Bytes of several webhooks in one statement: encoding them takes milliseconds. */
const maxPartBytes = 512 * 1024;

async function insertWebhooks(db: Db, bus: Bus, webhooks: readonly Webhook[], nowMs: number): Promise<void> {
  const ids = webhooks.map(() => newId(nowMs));
  const outbox = bus.outboxOf(
    webhooks.map(({ channelAccountId }, index) => {
      return { key: channelAccountId, value: { webhookId: ids[index]! } satisfies InboundRecord };
    }),
  );
  await db.query({
    name: "insert_webhooks",
    text: `
      WITH kept AS (
        INSERT INTO webhooks (webhook_id, workspace_id, channel_account_id, headers, body, received_at)
        SELECT id, workspace_id, channel_account_id, headers::jsonb, body, $1
        FROM unnest($2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::bytea[])
          AS w (id, workspace_id, channel_account_id, headers, body)
      )
      SELECT bus_append($7, $8, $9, $10)`,
    values: [
      new Date(nowMs),
      ids,
      webhooks.map((webhook) => webhook.workspaceId),
      webhooks.map((webhook) => webhook.channelAccountId),
      webhooks.map((webhook) => JSON.stringify(webhook.headers)),
      webhooks.map((webhook) => webhook.rawBody),
      topics.inbound,
      outbox.partitions,
      outbox.counts,
      outbox.batches,
    ],
  });
}

export interface KeptWebhook extends Webhook {
  webhookId: string;
}

/**
 * The webhooks of these ids, in order, until their bodies have about `maxPageBytes`; `count` is the number of ids read.
 * Deleted ones are omitted.
 */
export async function loadWebhooks(
  db: Db,
  webhookIds: readonly string[],
): Promise<{ webhooks: KeptWebhook[]; count: number }> {
  const webhooks = await allPrepared<KeptWebhook & OfPage & { place: number }>(
    db,
    "load_webhooks",
    withinPage(
      `SELECT i.place, w.webhook_id AS "webhookId", w.workspace_id AS "workspaceId",
         w.channel_account_id AS "channelAccountId", w.headers, w.body AS "rawBody"
       FROM unnest($1::uuid[]) WITH ORDINALITY AS i (webhook_id, place) JOIN webhooks w USING (webhook_id)`,
      { size: `octet_length("rawBody")`, order: "place" },
    ),
    [webhookIds],
  );
  const last = webhooks.at(-1);
  return { webhooks, count: last?.more_follow ? last.place : webhookIds.length };
}

/** Stores why (a part of) a webhook had no effect. */
export async function noteWebhookError(db: Db, webhookId: string, error: string): Promise<void> {
  await run(db, "UPDATE webhooks SET error = $2 WHERE webhook_id = $1", [webhookId, error.slice(0, 1_000)]);
}

const webhookRetentionDays = 30;

export function deleteOldWebhooks({ db, clock }: { db: PipelineDb; clock: Clock }): Promise<number> {
  return run(
    db,
    `DELETE FROM webhooks WHERE webhook_id IN (
       SELECT webhook_id FROM webhooks WHERE received_at < $1 AND failed_at IS NULL ORDER BY received_at LIMIT 5000)`,
    [new Date(clock.now() - webhookRetentionDays * 86_400_000)],
  );
}
