import type { Principal } from "../identity/principal.ts";
import { all, type Db } from "../lib/query.ts";
import { findMessage } from "./read-message.ts";
import type { MessageStatus } from "./show.ts";

/** One change of status, of the message itself (no delivery) or of one of its deliveries. */
export interface AuditEntry {
  at: string;
  status: MessageStatus;
  delivery_id: string | null;
  channel: string | null;
  /** Why: `routed`, `attempt 1 started`, `receipt`, `replayed`, an error's code … */
  cause: string;
}

/** One thing that happened to a message. `what` says which of the other fields there are. */
export interface TraceEntry {
  at: string;
  what: "received" | "accepted" | "routed" | "status" | "attempt" | "webhook" | "socket" | "webhook_endpoint";
  [detail: string]: unknown;
}

interface HistoryEntry {
  status: MessageStatus;
  at: string;
  cause: string;
  webhook_id?: string | null;
  platform_at?: string;
  /** Whose socket took it, where one did: for the workspace any of those who answer for it. */
  user_id?: string;
}

interface TracedDelivery {
  delivery_id: string;
  recipient_id: string;
  channel: string;
  identifier: string | null;
  channel_account_id: string | null;
  route: string;
  history: HistoryEntry[];
  created_at: Date;
}

/** The audit trail, oldest first. Every change of status is in it. */
export async function readAuditTrail(db: Db, principal: Principal, messageId: string): Promise<AuditEntry[]> {
  const message = await findMessage(db, principal, messageId);
  const deliveries = await loadDeliveries(db, principal.workspaceId, messageId);
  const accepted: AuditEntry = {
    at: message.created_at.toISOString(),
    status: "accepted",
    delivery_id: null,
    channel: null,
    cause: message.direction === "inbound" ? "received" : "accepted",
  };
  const changes = deliveries.flatMap((delivery) =>
    delivery.history.map(({ status, at, cause }) => {
      return { at, status, delivery_id: delivery.delivery_id, channel: delivery.channel, cause };
    }),
  );
  return [accepted, ...oldestFirst(changes)];
}

/** Everything that happened to it, oldest first: no credential and no text of a message is in it. */
export async function readTrace(db: Db, principal: Principal, messageId: string): Promise<TraceEntry[]> {
  const message = await findMessage(db, principal, messageId);
  const deliveries = await loadDeliveries(db, principal.workspaceId, messageId);
  const attempts = await loadAttempts(
    db,
    deliveries.map((delivery) => delivery.delivery_id),
  );
  const webhooks = await loadWebhooks(db, principal.workspaceId, webhookIdsOf(message.origin, deliveries));
  const createdAt = message.created_at.toISOString();
  const { conversation_id, seq, sender_id, direction, channels, route } = message;
  const told: TraceEntry[] = [
    { at: createdAt, what: "accepted", direction, from: sender_id, conversation_id, seq, channels, route },
  ];
  for (const delivery of deliveries) {
    const { delivery_id, recipient_id, channel, identifier, channel_account_id, route } = delivery;
    const at = delivery.created_at.toISOString();
    told.push({ at, what: "routed", delivery_id, recipient_id, channel, identifier, channel_account_id, why: route });
    for (const { at: changedAt, ...change } of delivery.history) {
      const { user_id } = change;
      if (user_id !== undefined) told.push({ at: changedAt, what: "socket", delivery_id, recipient_id, user_id });
      told.push({ ...change, at: changedAt, what: "status", delivery_id, channel });
    }
  }
  for (const { started_at, finished_at, ...attempt } of attempts) {
    told.push({ at: started_at.toISOString(), what: "attempt", finished_at: finished_at.toISOString(), ...attempt });
  }
  for (const { received_at, ...webhook } of webhooks) {
    told.push({ at: received_at.toISOString(), what: "webhook", ...webhook });
  }
  for (const { started_at, ...attempt } of await loadEndpointAttempts(db, principal.workspaceId, messageId)) {
    told.push({ at: started_at.toISOString(), what: "webhook_endpoint", ...attempt });
  }
  return oldestFirst(told);
}

async function loadDeliveries(db: Db, workspaceId: string, messageId: string): Promise<TracedDelivery[]> {
  const deliveries = await all<TracedDelivery>(
    db,
    `SELECT delivery_id, recipient_id, channel, identifier, channel_account_id, route, history, created_at
     FROM deliveries WHERE message_id = $1 AND workspace_id = $2 ORDER BY ordinal`,
    [messageId, workspaceId],
  );
  return deliveries.map((delivery) => ({ ...delivery, history: inWrittenOrder(delivery.history) }));
}

/** The order in which things happened; the stamps of two processes may differ a little. */
function inWrittenOrder(history: readonly HistoryEntry[]): HistoryEntry[] {
  let latest = "";
  return history.map((entry) => {
    const at = iso(entry.at);
    if (at > latest) latest = at;
    return { ...entry, at: latest };
  });
}

interface AttemptRow {
  delivery_id: string;
  number: number;
  started_at: Date;
  finished_at: Date;
  outcome: string;
  exchanges: unknown;
  error: unknown;
}

function loadAttempts(db: Db, deliveryIds: readonly string[]): Promise<AttemptRow[]> {
  return all(
    db,
    `SELECT delivery_id, number, started_at, finished_at, outcome, exchanges, error
     FROM attempts WHERE delivery_id = ANY ($1) ORDER BY started_at, number`,
    [deliveryIds],
  );
}

interface WebhookRow {
  webhook_id: string;
  channel_account_id: string;
  received_at: Date;
  size_bytes: number;
  error: string | null;
}

function loadWebhooks(db: Db, workspaceId: string, webhookIds: readonly string[]): Promise<WebhookRow[]> {
  return all(
    db,
    `SELECT webhook_id, channel_account_id, received_at, length(body) AS size_bytes, error
     FROM webhooks WHERE webhook_id = ANY ($1) AND workspace_id = $2`,
    [webhookIds, workspaceId],
  );
}

interface EndpointAttemptRow {
  webhook_endpoint_id: string;
  webhook_id: string;
  event: string;
  number: number;
  status: string;
  status_code: number | null;
  error: string | null;
  started_at: Date;
  duration_ms: number;
}

/** Which programs were told of it, and what they answered: not the answer itself, which may say anything. */
function loadEndpointAttempts(db: Db, workspaceId: string, messageId: string): Promise<EndpointAttemptRow[]> {
  return all(
    db,
    `SELECT a.webhook_endpoint_id, a.webhook_delivery_id AS webhook_id, a.event, a.number, a.status, a.status_code, a.error,
       a.started_at, a.duration_ms
     FROM webhook_deliveries d JOIN webhook_attempts a USING (webhook_delivery_id)
     WHERE d.message_id = $1 AND d.workspace_id = $2 ORDER BY a.started_at, a.attempt_id`,
    [messageId, workspaceId],
  );
}

function webhookIdsOf(origin: Record<string, unknown> | null, deliveries: readonly TracedDelivery[]): string[] {
  const fromReceipts = deliveries.flatMap(({ history }) => history.map((entry) => entry.webhook_id));
  return [...new Set([origin?.webhook_id, ...fromReceipts].filter((id) => typeof id === "string"))];
}

/** Stable: what happened within the same millisecond stays in the order in which it was written. */
function oldestFirst<Entry extends { at: string }>(entries: Entry[]): Entry[] {
  return entries.toSorted((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0));
}

/** PostgreSQL writes times inside `jsonb` with its own offset and precision. */
function iso(at: string): string {
  return new Date(at).toISOString();
}
