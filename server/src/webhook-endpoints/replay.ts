import { asksFor } from "../../../contract/src/events.ts";
import { maxReplayed, maxReplayedBytes } from "../../../contract/src/webhook-endpoints.ts";
import type { Scoped } from "../credentials/credentials.ts";
import { notFound, RequestError } from "../errors.ts";
import { positionAt, readFeed, requireMayRead } from "../events/events.ts";
import type { Clock } from "../lib/clock.ts";
import { type Db, maybe } from "../lib/query.ts";
import { type EndpointKey, findEndpoint, type WebhookEndpoint } from "./endpoint-rows.ts";
import { followPage, insertDeliveries } from "./follow.ts";

/**
 * On a new schedule, with the same `webhook-id`, which it returns. CONFLICT while the endpoint is disabled, FORBIDDEN
 * for an API key that may not read the event.
 */
export async function replayAttempt(
  { clock }: { clock: Clock },
  db: Db,
  by: Scoped,
  key: EndpointKey,
  attemptId: string,
): Promise<string> {
  requireEnabled(await findEndpoint(db, key));
  const sent = await maybe<{ event: string }>(
    db,
    `SELECT d.event FROM webhook_attempts a JOIN webhook_deliveries d USING (webhook_delivery_id)
     WHERE a.attempt_id = $3 AND a.workspace_id = $1 AND a.webhook_endpoint_id = $2`,
    [key.workspaceId, key.endpointId, attemptId],
  );
  if (sent === null) throw notFound("attempt");
  requireMayRead(by, [sent.event]);
  const replayed = await maybe<{ webhook_delivery_id: string }>(
    db,
    `UPDATE webhook_deliveries d SET status = 'pending', attempts_before = d.attempts, next_attempt_at = $4
     FROM webhook_attempts a
     WHERE a.attempt_id = $3 AND a.workspace_id = $1 AND a.webhook_endpoint_id = $2
       AND d.webhook_delivery_id = a.webhook_delivery_id
     RETURNING d.webhook_delivery_id`,
    [key.workspaceId, key.endpointId, attemptId, new Date(clock.now())],
  );
  if (replayed === null) throw notFound("attempt");
  return replayed.webhook_delivery_id;
}

interface ReplayRange {
  from: Date;
  to: Date;
  events?: readonly string[] | undefined;
}

interface Replayed {
  replayed: number;
  /** Where to continue when the range has more than one replay reads. */
  nextFrom: Date | null;
}

/**
 * Sends the events of a time range that the feed still has. Those that were sent before keep their `webhook-id` and
 * body. CONFLICT while the endpoint is disabled, FORBIDDEN for an API key that may not read these events.
 */
export async function replayRange(
  { clock }: { clock: Clock },
  db: Db,
  by: Scoped,
  key: EndpointKey,
  { from, to, events }: ReplayRange,
): Promise<Replayed> {
  const endpoint = await findEndpoint(db, key);
  const wanted = events ?? endpoint.events;
  requireMayRead(by, wanted);
  requireEnabled(endpoint);
  let [replayed, bytes] = [0, 0];
  let position = await positionAt(db, key.workspaceId, from);
  for (let read = 0; ; ) {
    const page = await readFeed(db, key.workspaceId, position, followPage);
    if (page.kind === "gap" || page.last === position) return { replayed, nextFrom: null };
    const inRange = page.events.filter(({ at }) => at < to);
    const pairs = inRange.flatMap((event, place) =>
      asksFor(wanted, event.name) ? [{ endpointId: key.endpointId, place }] : [],
    );
    const deliveries = { workspaceId: key.workspaceId, events: inRange, pairs, now: new Date(clock.now()) };
    const inserted = await insertDeliveries(db, { ...deliveries, isReplay: true });
    replayed += inserted.due;
    bytes += inserted.bytes;
    const last = page.events.at(-1);
    if (inRange.length < page.events.length) return { replayed, nextFrom: null };
    read += page.last - position;
    position = page.last;
    const isEnough = read >= maxReplayed || bytes >= maxReplayedBytes;
    // The next call reads the events of this moment again, so it must be a later one.
    if (isEnough && position < page.head && last && last.at > from) return { replayed, nextFrom: last.at };
  }
}

function requireEnabled(endpoint: WebhookEndpoint): void {
  if (endpoint.status === "enabled") return;
  throw new RequestError("CONFLICT", "The webhook endpoint is disabled: enable it first.");
}
