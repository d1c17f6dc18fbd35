import type { PipelineDb } from "../database-roles.ts";
import type { Clock } from "../lib/clock.ts";
import { all, run } from "../lib/query.ts";
import { inLockOrder } from "./claims.ts";
import { giveUpPending } from "./disable.ts";

export const webhookDeliveryRetentionDays = 30;

const deletePage = 5_000;

/** Returns how many it deleted, up to `deletePage` of each. */
export async function deleteOldWebhookDeliveries({ db, clock }: { db: PipelineDb; clock: Clock }): Promise<number> {
  const before = new Date(clock.now() - webhookDeliveryRetentionDays * 86_400_000);
  const attempts = await run(
    db,
    `DELETE FROM webhook_attempts WHERE attempt_id IN (
       SELECT attempt_id FROM webhook_attempts WHERE started_at < $1 ORDER BY started_at LIMIT ${deletePage})`,
    [before],
  );
  const deliveries = await run(
    db,
    `WITH chosen AS MATERIALIZED (
       SELECT webhook_delivery_id AS id FROM webhook_deliveries WHERE created_at < $1 ORDER BY created_at LIMIT ${deletePage}
     )
     DELETE FROM webhook_deliveries WHERE webhook_delivery_id IN (
       ${inLockOrder("webhook_delivery_id IN (SELECT id FROM chosen)")})`,
    [before],
  );
  return attempts + deliveries;
}

/** Gives up deliveries that still wait for disabled endpoints, such as after a crash. */
export async function giveUpDisabled({ db }: { db: PipelineDb }): Promise<void> {
  const disabled = await all<{ webhook_endpoint_id: string }>(
    db,
    `SELECT webhook_endpoint_id FROM webhook_endpoints e
     WHERE status = 'disabled' AND EXISTS (
       SELECT FROM webhook_deliveries d WHERE d.webhook_endpoint_id = e.webhook_endpoint_id
         AND d.status = 'pending' AND d.owner_id IS NULL)`,
  );
  for (const { webhook_endpoint_id } of disabled) await giveUpPending(db, webhook_endpoint_id);
}
