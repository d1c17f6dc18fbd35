import { recordAuditEvent } from "../audit/audit.ts";
import type { PipelineDb, RequestDb } from "../database-roles.ts";
import type { EventNotifier } from "../events/events.ts";
import type { Clock } from "../lib/clock.ts";
import { type Log, type PoolClient, transaction } from "../lib/postgres.ts";
import { all, type Db, one } from "../lib/query.ts";
import { inLockOrder } from "./claims.ts";
import { type DisabledReason, disableEndpoint, type EndpointKey } from "./endpoint-rows.ts";
import { patienceMs } from "./schedule.ts";

export interface DisableDeps {
  db: PipelineDb | RequestDb;
  clock: Clock;
  log: Log;
  eventNotifier: Pick<EventNotifier, "notify">;
}

/** Unless the reason no longer holds. `failing`: every attempt has failed for `patienceMs`. Safe to call twice. */
export async function disable(
  deps: DisableDeps,
  key: EndpointKey,
  reason: "gone" | "failing" | "maker_lost_access",
): Promise<void> {
  const { db, clock } = deps;
  const failingSince = reason === "failing" && { failingSince: new Date(clock.now() - patienceMs) };
  const change = { reason, at: new Date(clock.now()), ...failingSince };
  if (await transaction(db, (tx) => disableIn(tx, key, change))) announceDisabled(deps, key, reason);
}

/** False when there was nothing to disable. Call `announceDisabled` after the commit; a trigger writes the event. */
export async function disableIn(
  tx: PoolClient,
  key: EndpointKey,
  change: { reason: DisabledReason; at: Date; failingSince?: Date },
): Promise<boolean> {
  if ((await disableEndpoint(tx, key, change)) === null) return false;
  const { workspaceId, endpointId } = key;
  await recordAuditEvent(
    tx,
    { kind: "system", workspaceId, origin: { ip: null, requestId: null } },
    {
      action: "webhook_endpoint.disabled",
      target: { type: "webhook_endpoint", id: endpointId },
      details: { reason: change.reason },
    },
  );
  return true;
}

export function announceDisabled(
  { log, eventNotifier }: Pick<DisableDeps, "log" | "eventNotifier">,
  key: EndpointKey,
  reason: DisabledReason,
): void {
  log.warn({ endpoint: key.endpointId, reason }, "a webhook endpoint was disabled");
  eventNotifier.notify(key.workspaceId);
}

/** Deliveries of one statement, so that it holds its locks briefly. */
const settlePage = 5_000;

/**
 * Marks the waiting deliveries of a disabled or deleted endpoint as `failed`; they can be replayed. Leaves those being
 * sent, and all of an endpoint that is enabled meanwhile: the endpoint is locked, after its deliveries as in
 * `finishAttempts`, and its status read under that lock.
 */
export async function giveUpPending(db: Db, endpointId: string): Promise<number> {
  const waits = "status = 'pending' AND owner_id IS NULL";
  for (let givenUp = 0; ; ) {
    const { seen, failed } = await one<{ seen: number; failed: number }>(
      db,
      `WITH chosen AS MATERIALIZED (
         SELECT webhook_delivery_id AS id FROM webhook_deliveries
         WHERE webhook_endpoint_id = $1 AND ${waits} AND NOT EXISTS (
           SELECT FROM webhook_endpoints WHERE webhook_endpoint_id = $1 AND status = 'enabled')
         ORDER BY next_attempt_at LIMIT $2
       ), held AS MATERIALIZED (
         ${inLockOrder(`webhook_delivery_id IN (SELECT id FROM chosen) AND ${waits}`)}
       ), endpoint AS MATERIALIZED (
         SELECT status FROM webhook_endpoints
         WHERE webhook_endpoint_id = $1 AND (SELECT count(*) FROM held) > 0 FOR SHARE
       ), settled AS (
         UPDATE webhook_deliveries SET status = 'failed'
         WHERE webhook_delivery_id IN (SELECT webhook_delivery_id FROM held)
           AND NOT EXISTS (SELECT FROM endpoint WHERE status = 'enabled') RETURNING 1
       )
       SELECT (SELECT count(*) FROM chosen) AS seen, (SELECT count(*) FROM settled) AS failed`,
      [endpointId, settlePage],
    );
    givenUp += failed;
    if (seen < settlePage) return givenUp;
  }
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
