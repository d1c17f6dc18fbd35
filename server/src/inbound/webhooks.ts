import { promisify } from "node:util";
import { gunzip, gzip } from "node:zlib";
import type { Bus } from "../bus/bus.ts";
import type { StoredWith } from "../deliveries/deliveries.ts";
import { commitsEarly, queryEarly } from "../lib/early-commit.ts";
import type { ChannelAccountId } from "../lib/ids.ts";
import { type OfPage, withinPage } from "../lib/page-bytes.ts";
import type { Pool } from "../lib/postgres.ts";
import { allPrepared, type Db, joinTexts, plainArray, run, splitTexts } from "../lib/query.ts";
import { topics } from "../topics.ts";

export interface Webhook {
  workspaceId: string;
  channelAccountId: ChannelAccountId;
  /** Those that the parser may need; never the signature or a secret. */
  headers: Record<string, string>;
  rawBody: Buffer;
}

export interface KeptWebhook extends Webhook {
  webhookId: string;
  /** What is stored in place of `rawBody`. */
  gzip?: Buffer;
}

export interface InboundRecord {
  webhookId: string;
}

const [toGzip, fromGzip] = [promisify(gzip), promisify(gunzip)];

/** Bytes of a body from which on it is compressed: a shorter one would save little. */
const longBody = 2_000;

/** For a webhook that is hardly ever read again: its receipts are a fifth as long. */
export async function compress(webhook: KeptWebhook): Promise<KeptWebhook> {
  const { rawBody } = webhook;
  return rawBody.length < longBody ? webhook : { ...webhook, gzip: await toGzip(rawBody, { level: 1 }) };
}

/** A part of a statement that stores webhooks. Safe to repeat. */
export function storing(webhooks: readonly KeptWebhook[], now: Date): StoredWith {
  const bodies = webhooks.map((webhook) => webhook.gzip ?? webhook.rawBody);
  const starts = [1];
  for (const { length } of bodies) starts.push(starts.at(-1)! + length);
  return {
    text: (first) => `kept AS (
      INSERT INTO webhooks (webhook_id, workspace_id, channel_account_id, headers, body, body_size, received_at)
      SELECT id, workspace_id, channel_account_id, headers::jsonb, substring($${first + 6}::bytea FROM start FOR length), size,
        $${first}::timestamptz
      FROM unnest($${first + 1}::uuid[], $${first + 2}::uuid[], $${first + 3}::uuid[], ${splitTexts(`$${first + 4}`)},
        $${first + 5}::int[], $${first + 7}::int[], $${first + 8}::int[])
        AS w (id, workspace_id, channel_account_id, headers, start, length, size)
      ON CONFLICT DO NOTHING
    )`,
    values: [
      now,
      plainArray(webhooks.map((webhook) => webhook.webhookId)),
      plainArray(webhooks.map((webhook) => webhook.workspaceId)),
      plainArray(webhooks.map((webhook) => webhook.channelAccountId)),
      joinTexts(webhooks.map((webhook) => JSON.stringify(webhook.headers))),
      plainArray(starts.slice(0, -1)),
      Buffer.concat(bodies),
      plainArray(bodies.map(({ length }) => length)),
      plainArray(webhooks.map(({ gzip, rawBody }) => (gzip === undefined ? null : rawBody.length))),
    ],
  };
}

/** Stores webhooks and publishes them for the step `receive`; call `bus.wake` afterwards. */
export async function publishWebhooks(db: Pool, bus: Bus, webhooks: readonly KeptWebhook[], now: Date): Promise<void> {
  const outbox = bus.outboxOf(
    webhooks.map(({ channelAccountId, webhookId }) => {
      return { key: channelAccountId, value: { webhookId } satisfies InboundRecord };
    }),
  );
  const { text, values } = storing(webhooks, now);
  await queryEarly(db, {
    name: "publish_webhooks",
    text: `WITH ${text(5)} SELECT bus_append($1, $2, $3, $4), ${commitsEarly}`,
    values: [topics.inbound, outbox.partitions, outbox.counts, outbox.batches, ...values],
  });
}

/**
 * The webhooks of these ids, in order, until their bodies have about `maxPageBytes`; `count` is the number of ids read.
 * Deleted ones are omitted.
 */
export async function loadWebhooks(
  db: Db,
  webhookIds: readonly string[],
): Promise<{ webhooks: KeptWebhook[]; count: number }> {
  const rows = await allPrepared<KeptWebhook & OfPage & { place: number; bodySize: number | null }>(
    db,
    "load_webhooks",
    withinPage(
      `SELECT i.place, w.webhook_id AS "webhookId", w.workspace_id AS "workspaceId",
         w.channel_account_id AS "channelAccountId", w.headers, w.body AS "rawBody",
         w.body_size AS "bodySize"
       FROM unnest($1::uuid[]) WITH ORDINALITY AS i (webhook_id, place) JOIN webhooks w USING (webhook_id)`,
      { size: `coalesce("bodySize", octet_length("rawBody"))`, order: "place" },
    ),
    [webhookIds],
  );
  const webhooks = await Promise.all(
    rows.map(async ({ bodySize, ...webhook }) => {
      if (bodySize !== null) webhook.rawBody = await fromGzip(webhook.rawBody, { maxOutputLength: bodySize });
      return webhook;
    }),
  );
  const last = webhooks.at(-1);
  return { webhooks, count: last?.more_follow ? last.place : webhookIds.length };
}

/** Stores why (a part of) a webhook had no effect. */
export async function noteWebhookError(db: Db, webhookId: string, error: string): Promise<void> {
  await run(db, "UPDATE webhooks SET error = $2 WHERE webhook_id = $1", [webhookId, error.slice(0, 1_000)]);
}

/** Those that could not be read are kept until they are replayed or discarded. */
export const webhookRetentionMs = 30 * 86_400_000;
