import type { PipelineDb } from "../database-roles.ts";
import type { Clock } from "../lib/clock.ts";
import { all, type Db, maybe, run } from "../lib/query.ts";
import { isHeld, type SealedEndpoint } from "./endpoint-rows.ts";

/** A delivery that only this process sends, as long as it is alive. */
export interface Claimed {
  webhook_delivery_id: string;
  event: string;
  body: string;
  attempts: number;
  attempts_before: number;
}

interface ClaimInput {
  ownerId: string;
  now: Date;
  limit: number;
}

/** SQL: locks deliveries in the order of their ids, as every statement that may wait, to avoid deadlocks. */
export function inLockOrder(condition: string): string {
  return `SELECT webhook_delivery_id FROM webhook_deliveries WHERE ${condition} ORDER BY webhook_delivery_id FOR UPDATE`;
}

/** For `leaseMs`, by the database's clock. */
export async function stayAlive(db: Db, ownerId: string, leaseMs: number): Promise<void> {
  await run(
    db,
    `INSERT INTO webhook_senders (owner_id, expires_at) VALUES ($1, now() + $2 * interval '1 millisecond')
     ON CONFLICT (owner_id) DO UPDATE SET expires_at = excluded.expires_at`,
    [ownerId, leaseMs],
  );
}

export async function leave(db: Db, ownerId: string): Promise<void> {
  await run(
    db,
    `UPDATE webhook_deliveries SET owner_id = NULL WHERE webhook_delivery_id IN (${inLockOrder("owner_id = $1")})`,
    [ownerId],
  );
  await run(db, "DELETE FROM webhook_senders WHERE owner_id = $1", [ownerId]);
}

/**
 * Frees the claims of ended processes. Returns the number of deliveries. No process is alive for longer than `leaseMs` from
 * now, else the database's clock was set back.
 */
export async function freeAbandoned(db: Db, leaseMs: number): Promise<number> {
  await run(
    db,
    `UPDATE webhook_senders SET expires_at = now() + $1 * interval '1 millisecond'
     WHERE expires_at > now() + $1 * interval '1 millisecond'`,
    [leaseMs],
  );
  const freed = await run(
    db,
    `UPDATE webhook_deliveries SET owner_id = NULL WHERE webhook_delivery_id IN (${inLockOrder(`
       owner_id IS NOT NULL AND NOT EXISTS (
         SELECT FROM webhook_senders s WHERE s.owner_id = webhook_deliveries.owner_id AND s.expires_at > now())`)})`,
  );
  await run(db, "DELETE FROM webhook_senders WHERE expires_at < now() - interval '1 minute'");
  return freed;
}

export function endpointsWithWork(
  db: Db,
  { now, afterId, limit }: { now: Date; afterId: string; limit: number },
): Promise<{ webhook_endpoint_id: string; failing_since: Date | null }[]> {
  return all(
    db,
    `SELECT webhook_endpoint_id, failing_since FROM webhook_endpoints e
     WHERE status = 'enabled' AND (rests_until IS NULL OR rests_until <= $1) AND webhook_endpoint_id > $2 AND EXISTS (
       SELECT FROM webhook_deliveries d WHERE d.webhook_endpoint_id = e.webhook_endpoint_id
         AND d.status = 'pending' AND d.owner_id IS NULL AND d.next_attempt_at <= $1)
     ORDER BY webhook_endpoint_id LIMIT $3`,
    [now, afterId, limit],
  );
}

/** Null when nothing may be sent now: the endpoint is gone, disabled, without a creator, or has asked for a pause. */
export function findActiveEndpoint(db: Db, endpointId: string, now: Date): Promise<SealedEndpoint | null> {
  return maybe(
    db,
    `SELECT * FROM webhook_endpoints
     WHERE webhook_endpoint_id = $1 AND status = 'enabled' AND (rests_until IS NULL OR rests_until <= $2)
       AND ${isHeld("$2")}`,
    [endpointId, now],
  );
}

export function claimDue(db: Db, endpointId: string, { ownerId, now, limit }: ClaimInput): Promise<Claimed[]> {
  return all(
    db,
    `WITH due AS (
       SELECT webhook_delivery_id FROM webhook_deliveries
       WHERE webhook_endpoint_id = $1 AND status = 'pending' AND owner_id IS NULL AND next_attempt_at <= $2
       ORDER BY next_attempt_at, position LIMIT $3 FOR UPDATE SKIP LOCKED
     )
     UPDATE webhook_deliveries d SET owner_id = $4 FROM due WHERE d.webhook_delivery_id = due.webhook_delivery_id
     RETURNING ${claimedColumns}`,
    [endpointId, now, limit, ownerId],
  );
}

/** The first delivery in the order of the feed, if it is due and free; else none, and those behind it wait. */
export function claimHead(db: Db, endpointId: string, { ownerId, now }: ClaimInput): Promise<Claimed[]> {
  return all(
    db,
    `UPDATE webhook_deliveries d SET owner_id = $3
     WHERE webhook_delivery_id = (
         SELECT webhook_delivery_id FROM webhook_deliveries
         WHERE webhook_endpoint_id = $1 AND status = 'pending' ORDER BY position LIMIT 1)
       AND status = 'pending' AND owner_id IS NULL AND next_attempt_at <= $2
     RETURNING ${claimedColumns}`,
    [endpointId, now, ownerId],
  );
}

const claimedColumns = "d.webhook_delivery_id, d.event, d.body, d.attempts, d.attempts_before";

const webhookDeliveryRetentionDays = 30;

const deletePage = 5_000;

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
