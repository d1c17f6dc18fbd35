import { asksFor } from "../../../contract/src/events.ts";
import { type FeedEvent, positionAt, readFeed } from "../events/events.ts";
import { derivedId } from "../lib/ids.ts";
import { type PoolClient, transaction } from "../lib/postgres.ts";
import { all, type Db, maybe, run } from "../lib/query.ts";
import { announceDisabled, type DisableDeps, disableIn } from "./disable.ts";
import { type EnabledEndpoint, enabledEndpoints, lockEndpoints } from "./endpoint-rows.ts";

export type FollowDeps = Pick<DisableDeps, "db" | "log" | "eventNotifier">;

export const followPage = 100;

interface Followed {
  endpoints: EnabledEndpoint[];
  hasMore: boolean;
}

/**
 * Turns the next page of a workspace's feed into deliveries: exactly one row for each event and endpoint that wants it,
 * in the transaction that moves the cursor. Of several processes at once, one does it.
 */
export async function follow(deps: FollowDeps, workspaceId: string, now: Date): Promise<Followed> {
  const { db, log } = deps;
  const disabled: string[] = [];
  const nothing = { endpoints: [], hasMore: false };
  const cursor = await maybe<{ position: number }>(db, "SELECT position FROM webhook_cursors WHERE workspace_id = $1", [
    workspaceId,
  ]);
  if (cursor === null) return nothing;
  const page = await readFeed(db, workspaceId, cursor.position, followPage);
  if (page.kind === "events" && page.last === cursor.position) return nothing;
  let last: number;
  if (page.kind === "events") last = page.last;
  else {
    last = page.reason === "expired" ? await positionAt(db, workspaceId, new Date(0)) : page.head;
    log.warn(
      { workspace: workspaceId, reason: page.reason },
      "webhook endpoints: events were deleted before they were read",
    );
  }
  const followed = await transaction(db, async (tx) => {
    const moved = await run(
      tx,
      `UPDATE webhook_cursors SET position = $3 WHERE (workspace_id, position) IN (
         SELECT workspace_id, position FROM webhook_cursors WHERE workspace_id = $1 AND position = $2
         FOR UPDATE SKIP LOCKED)`,
      [workspaceId, cursor.position, last],
    );
    if (moved === 0) return nothing;
    if (page.kind === "gap") return { endpoints: [], hasMore: true };
    const endpoints = await lockEnabledEndpoints(tx, workspaceId, { now, disabled });
    const pairs = page.events.flatMap((event, place) =>
      endpoints
        .filter((endpoint) => event.position > endpoint.starts_after && asksFor(endpoint.events, event.name))
        .map((endpoint) => ({ endpointId: endpoint.webhook_endpoint_id, place })),
    );
    await insertDeliveries(tx, { workspaceId, events: page.events, pairs, now, isReplay: false });
    const notified = new Set(pairs.map((pair) => pair.endpointId));
    return {
      endpoints: endpoints.filter((endpoint) => notified.has(endpoint.webhook_endpoint_id)),
      hasMore: page.last < page.head,
    };
  });
  for (const endpointId of disabled) announceDisabled(deps, { workspaceId, endpointId }, "maker_lost_access");
  return followed;
}

/**
 * The endpoints that get the page. One whose creator lost access is disabled in the same transaction and added to
 * `disabled`: if the creator regained access unnoticed, the receiver would not know what it missed.
 */
async function lockEnabledEndpoints(
  tx: PoolClient,
  workspaceId: string,
  { now, disabled }: { now: Date; disabled: string[] },
): Promise<EnabledEndpoint[]> {
  const enabled = await enabledEndpoints(tx, workspaceId, now);
  const lost = enabled.filter(({ is_held }) => !is_held).map(({ webhook_endpoint_id }) => webhook_endpoint_id);
  // Before the locks of the feed and the audit log.
  if (lost.length > 0) await lockEndpoints(tx, workspaceId, lost);
  for (const endpointId of lost) {
    if (await disableIn(tx, { workspaceId, endpointId }, { reason: "maker_lost_access", at: now })) {
      disabled.push(endpointId);
    }
  }
  return enabled.filter(({ webhook_endpoint_id }) => !disabled.includes(webhook_endpoint_id));
}

export function followedWorkspaces(db: Db): Promise<{ workspace_id: string; is_behind: boolean }[]> {
  return all(
    db,
    `SELECT e.workspace_id, h.last_position IS NOT NULL AND h.last_position <> c.position AS is_behind
     FROM (SELECT DISTINCT workspace_id FROM webhook_endpoints WHERE status = 'enabled') e
     JOIN webhook_cursors c USING (workspace_id) LEFT JOIN event_heads h USING (workspace_id)`,
  );
}

interface NewDeliveries {
  workspaceId: string;
  events: readonly FeedEvent[];
  pairs: readonly { endpointId: string; place: number }[];
  now: Date;
  /** Whether deliveries that exist are sent again, with their old body. */
  isReplay: boolean;
}

/** Characters of bodies that one statement writes, so that it does not block the event loop. */
const maxStatementLength = 256 * 1024;

interface NewDelivery {
  id: string;
  endpointId: string;
  event: FeedEvent;
}

/**
 * Returns how many are due now (none for a deleted endpoint), and the size of their bodies. Safe to call twice. Locks in
 * the order of ids.
 */
export async function insertDeliveries(db: Db, input: NewDeliveries): Promise<{ due: number; bytes: number }> {
  const { events, pairs } = input;
  const wanted = pairs
    .map(({ endpointId, place }): NewDelivery => {
      const event = events[place]!;
      return { id: deliveryId(endpointId, event), endpointId, event };
    })
    .sort((one, other) => (one.id < other.id ? -1 : 1));
  let [due, bytes] = [0, 0];
  let some: NewDelivery[] = [];
  let bodies = new Map<FeedEvent, string>();
  let length = 0;
  for (const one of wanted) {
    some.push(one);
    if (!bodies.has(one.event)) {
      const body = bodyOf(one.event);
      bodies.set(one.event, body);
      length += body.length;
      bytes += Buffer.byteLength(body);
    }
    if (length < maxStatementLength) continue;
    due += await insertSome(db, input, some, bodies);
    [some, bodies, length] = [[], new Map(), 0];
  }
  if (some.length > 0) due += await insertSome(db, input, some, bodies);
  return { due, bytes };
}

function insertSome(
  db: Db,
  { workspaceId, now, isReplay }: NewDeliveries,
  some: readonly NewDelivery[],
  bodies: ReadonlyMap<FeedEvent, string>,
): Promise<number> {
  const events = [...bodies.keys()];
  const numberOf = new Map(events.map((event, index) => [event, index + 1]));
  return run(
    db,
    `INSERT INTO webhook_deliveries AS d (webhook_delivery_id, workspace_id, webhook_endpoint_id, position, event,
       message_id, body, status, next_attempt_at, created_at)
     SELECT p.id, $1, p.endpoint_id, e.position, e.name, e.message_id, e.body, 'pending', $2, $2
     FROM unnest($3::uuid[], $4::uuid[], $5::integer[]) AS p (id, endpoint_id, number)
     JOIN webhook_endpoints w ON w.webhook_endpoint_id = p.endpoint_id
     JOIN unnest($6::bigint[], $7::text[], $8::uuid[], $9::text[]) WITH ORDINALITY
       AS e (position, name, message_id, body, number) USING (number)
     ORDER BY p.id
     ON CONFLICT (webhook_delivery_id) DO ${isReplay ? rearm : "NOTHING"}`,
    [
      workspaceId,
      now,
      some.map(({ id }) => id),
      some.map(({ endpointId }) => endpointId),
      some.map(({ event }) => numberOf.get(event)!),
      events.map((event) => event.position),
      events.map((event) => event.name),
      events.map((event) => event.frame.message_id ?? null),
      events.map((event) => bodies.get(event)!),
    ],
  );
}

const rearm = "UPDATE SET status = 'pending', attempts_before = d.attempts, next_attempt_at = excluded.next_attempt_at";

function deliveryId(endpointId: string, { at, position }: FeedEvent): string {
  return derivedId(at.getTime(), "webhook", endpointId, String(position));
}

/** What is sent. Source: Standard Webhooks 1.0, "Payload structure". */
function bodyOf({ name, at, frame }: FeedEvent): string {
  const { type: _type, event: _event, at: _at, timestamp: _milliseconds, ...data } = frame;
  return webhookBody(name, at, data);
}

export function webhookBody(name: string, at: Date, data: Record<string, unknown>): string {
  return JSON.stringify({ type: name, timestamp: at.toISOString(), data });
}
