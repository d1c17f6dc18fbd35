import type { Capabilities } from "../connectors/connector.ts";
import { publishStatuses } from "../events/events.ts";
import { transaction } from "../lib/postgres.ts";
import { all, run } from "../lib/query.ts";
import { topics } from "../topics.ts";
import type { PipelineDeps } from "./pipeline-deps.ts";
import type { AcceptedRecord } from "./routing/load-routing.ts";

type FallbackDeps = Pick<PipelineDeps, "db" | "bus" | "clock" | "capabilitiesOf">;

const batchSize = 500;

/**
 * For deliveries that failed for good or were not delivered in time (`sent`, where the channel reports no more). One
 * that was not sent yet is given up, so that it does not arrive hours later. Safe in several processes at once.
 */
export async function startFallbacks({ db, bus, clock, capabilitiesOf }: FallbackDeps): Promise<number> {
  const now = new Date(clock.now());
  const started = await transaction(db, async (tx) => {
    const due = await all<DueRow>(
      tx,
      `SELECT delivery_id AS "deliveryId", workspace_id AS "workspaceId", message_id AS "messageId",
         conversation_id AS "conversationId", recipient_id AS "recipientId", channel, status
       FROM deliveries
       WHERE fallback_at IS NOT NULL AND (fallback_at <= now() OR status IN ('delivered', 'read', 'failed'))
       ORDER BY fallback_at LIMIT $1 FOR UPDATE SKIP LOCKED`,
      [batchSize],
    );
    if (due.length === 0) return [];
    const missed = due.filter((row) => !isDelivered(row, capabilitiesOf(row.channel)));
    // Superseded, so that no replay sends it too; the router reverts that if there is no other channel.
    await run(
      tx,
      `UPDATE deliveries SET fallback_at = NULL, is_superseded = is_superseded OR delivery_id = ANY ($2)
       WHERE delivery_id = ANY ($1)`,
      [due.map(({ deliveryId }) => deliveryId), missed.map(({ deliveryId }) => deliveryId)],
    );
    const records = missed.map(({ workspaceId, messageId, conversationId, recipientId, channel }) => {
      const value: AcceptedRecord = { workspaceId, messageId, retryOf: { recipientId, channel } };
      return { key: conversationId, value };
    });
    await bus.publish(tx, topics.messageProcessing, records);
    // After publishing: a changed status takes the lock of the feed, the last one.
    await run(
      tx,
      `WITH given_up AS (UPDATE deliveries SET is_pending = false, status = 'failed', status_before = status,
         failed_at = $2, next_attempt_at = NULL,
         error = '{"code": "SUPERSEDED", "message": "Not sent in time: the next channel was tried instead."}',
         started_at = NULL,
         history = delivery_history(deliveries) || jsonb_build_object('status', 'failed', 'at', $2::timestamptz, 'cause', 'SUPERSEDED')
       WHERE delivery_id = ANY ($1) AND is_pending AND attempt_started_at IS NULL
         AND (error ->> 'code') IS DISTINCT FROM 'UNKNOWN' AND status < 'sent'
       RETURNING *)
       ${publishStatuses({ from: "given_up d" })}`,
      [missed.map(({ deliveryId }) => deliveryId), now],
    );
    return missed;
  });
  if (started.length > 0) bus.wake(topics.messageProcessing);
  return started.length;
}

interface DueRow {
  deliveryId: string;
  workspaceId: string;
  messageId: string;
  conversationId: string;
  recipientId: string;
  channel: string;
  status: string;
}

function isDelivered({ status }: DueRow, capabilities: Capabilities | null): boolean {
  if (status === "delivered" || status === "read") return true;
  return status === "sent" && capabilities !== null && !capabilities.receipts.includes("delivered");
}
