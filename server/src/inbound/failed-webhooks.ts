import type { ChannelAccountId } from "../lib/ids.ts";
import { all, type Db, run } from "../lib/query.ts";
import type { InboundRecord } from "./webhooks.ts";

/** A webhook that `receive` could not read. Its body stays in `webhooks`: it may have message text. */
export interface FailedWebhook {
  webhook_id: string;
  channel: string;
  channel_account_id: ChannelAccountId;
  error: { code: string; message: string };
  received_at: Date;
  failed_at: Date;
}

interface FailedWebhookFilter {
  workspaceId: string;
  channel?: string | undefined;
  code?: string | undefined;
}

export const failedWebhookCode = "RECEIVE_FAILED";

/** Stores a dead letter, until it is replayed or discarded. Safe to call twice. */
export async function failWebhook(
  db: Db,
  { webhookId }: InboundRecord,
  { code, now }: { code: string; now: Date },
): Promise<void> {
  const message = `The hub could not read this webhook (${code}): see the hub's log, and replay the webhook when the cause is fixed.`;
  const text = "UPDATE webhooks SET failed_at = $2, error = $3 WHERE webhook_id = $1 AND failed_at IS NULL";
  await run(db, text, [webhookId, now, message]);
}

export function listFailedWebhooks(
  db: Db,
  filter: FailedWebhookFilter & { limit: number; after?: { at: Date; id: string } | undefined },
): Promise<FailedWebhook[]> {
  return all(
    db,
    `SELECT w.webhook_id, a.channel, w.channel_account_id, w.received_at, w.failed_at,
       json_build_object('code', $3::text, 'message', w.error) AS error
     FROM webhooks w JOIN channel_accounts a USING (channel_account_id)
     WHERE ${matches} AND ($5::timestamptz IS NULL OR (w.failed_at, w.webhook_id) < ($5, $6::uuid))
     ORDER BY w.failed_at DESC, w.webhook_id DESC LIMIT $7`,
    [...valuesOf(filter), filter.after?.at ?? null, filter.after?.id ?? null, filter.limit],
  );
}

export function countFailedWebhooks(
  db: Db,
  filter: FailedWebhookFilter,
): Promise<{ channel: string; count: number }[]> {
  return all(
    db,
    `SELECT a.channel, count(*) AS count FROM webhooks w JOIN channel_accounts a USING (channel_account_id)
     WHERE ${matches} GROUP BY a.channel`,
    valuesOf(filter),
  );
}

/** Removes dead letters, oldest first, for a replay. In the caller's transaction. */
export function takeFailedWebhooks(
  tx: Db,
  filter: FailedWebhookFilter & { webhookId?: string; limit: number },
): Promise<{ webhook_id: string; channel_account_id: ChannelAccountId }[]> {
  return all(
    tx,
    `UPDATE webhooks SET failed_at = NULL WHERE failed_at IS NOT NULL AND webhook_id IN (
       SELECT w.webhook_id FROM webhooks w JOIN channel_accounts a USING (channel_account_id)
       WHERE ${matches} AND ($5::uuid IS NULL OR w.webhook_id = $5) ORDER BY w.failed_at, w.webhook_id LIMIT $6)
     RETURNING webhook_id, channel_account_id`,
    [...valuesOf(filter), filter.webhookId ?? null, filter.limit],
  );
}

const matches = `w.workspace_id = $1 AND w.failed_at IS NOT NULL AND ($2::text IS NULL OR a.channel = $2)
       AND ($4::text IS NULL OR $4 = $3)`;

function valuesOf({ workspaceId, channel, code }: FailedWebhookFilter): unknown[] {
  return [workspaceId, channel ?? null, failedWebhookCode, code ?? null];
}
