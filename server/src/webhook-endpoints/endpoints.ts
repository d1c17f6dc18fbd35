import { maxEndpoints, maxUrlLength } from "../../../contract/src/webhook-endpoints.ts";
import { recordAuditEvent } from "../audit/audit.ts";
import { lockCreator, type Principal } from "../credentials/credentials.ts";
import type { RequestDb } from "../database-roles.ts";
import { invalid, RequestError } from "../errors.ts";
import { type EventNotifier, readHead, requireMayRead } from "../events/events.ts";
import type { Clock } from "../lib/clock.ts";
import { newId } from "../lib/ids.ts";
import { urlProblem } from "../lib/outbound-url.ts";
import { type PoolClient, transaction } from "../lib/postgres.ts";
import { one, run } from "../lib/query.ts";
import type { SecretBox } from "../lib/secret-box.ts";
import { giveUpPending } from "./disable.ts";
import type { EndpointStatus, WebhookEndpoint } from "./endpoint-rows.ts";
import * as rows from "./endpoint-rows.ts";
import { newWebhookSecret, requireWebhookSecret, sealWebhookSecret } from "./secrets.ts";

export interface EndpointDeps {
  clock: Clock;
  secretBox: SecretBox;
  /** Whether endpoints may be on private IP addresses, and without TLS. */
  allowPrivate: boolean;
  eventNotifier: Pick<EventNotifier, "notify">;
}

interface NewEndpoint {
  url: string;
  events: readonly string[];
  description?: string | null | undefined;
  ordered?: boolean | undefined;
  /** Default: a random one. */
  secret?: string | undefined;
}

type WithSecret = WebhookEndpoint & { secret: string };

/** VALIDATION_ERROR for its URL or secret, CONFLICT when there are too many, FORBIDDEN for unreadable events. */
export async function createEndpoint(
  deps: EndpointDeps,
  db: RequestDb,
  principal: Principal,
  input: NewEndpoint,
): Promise<WithSecret> {
  const { clock, secretBox } = deps;
  const { workspaceId } = principal;
  requireMayRead(principal, input.events);
  const url = requireEndpointUrl(input.url, deps);
  const secret = input.secret === undefined ? newWebhookSecret() : requireWebhookSecret(input.secret);
  const endpointId = newId(clock.now());
  return transaction(db, async (tx) => {
    const creator = await lockCreator(tx, clock, principal);
    const startsAfter = await lockCursor(tx, workspaceId);
    if ((await rows.countEndpoints(tx, workspaceId)) >= maxEndpoints) {
      throw new RequestError(
        "CONFLICT",
        `A workspace has at most ${maxEndpoints} webhook endpoints: delete one first.`,
      );
    }
    const made = await rows.insertEndpoint(tx, {
      workspaceId,
      endpointId,
      url,
      events: [...new Set(input.events)],
      description: input.description ?? null,
      isOrdered: input.ordered ?? false,
      startsAfter,
      secretSealed: sealWebhookSecret(secretBox, endpointId, secret),
      creator,
    });
    await audit(tx, principal, "created", endpointId);
    return { ...made, secret };
  });
}

/**
 * Disabling gives up the waiting deliveries; an endpoint that is enabled again gets the events from then on. FORBIDDEN
 * for an API key that may not read the old and new events: it could redirect them. A caller who enables it, or changes
 * its URL or events, becomes its creator.
 */
export async function changeEndpoint(
  deps: EndpointDeps,
  db: RequestDb,
  principal: Principal,
  endpointId: string,
  { status, ...changes }: rows.EndpointChanges & { status?: EndpointStatus | undefined },
): Promise<WebhookEndpoint> {
  const key = { workspaceId: principal.workspaceId, endpointId };
  const url = changes.url === undefined ? undefined : requireEndpointUrl(changes.url, deps);
  const events = changes.events && [...new Set(changes.events)];
  const before = await rows.findEndpoint(db, key);
  requireMayRead(principal, before.events);
  // What was due before it was disabled must not be sent after; while it is disabled nothing is sent.
  if (status === "enabled" && before.status === "disabled") await giveUpPending(db, endpointId);
  const changed = await transaction(db, async (tx) => {
    const creator = await lockCreator(tx, deps.clock, principal);
    const startsAfter = status === "enabled" ? await lockCursor(tx, key.workspaceId) : 0;
    const held = await rows.lockEndpoint(tx, key);
    requireMayRead(principal, [...held.events, ...(events ?? [])]);
    let now = (await rows.updateEndpoint(tx, key, { ...changes, url, events })) ?? rows.refuseUnknown();
    if (status === "enabled" && held.status === "disabled") {
      now = (await rows.enableEndpoint(tx, key, startsAfter)) ?? now;
    }
    if (status === "enabled" || now.url !== held.url || !areSame(now.events, held.events)) {
      now = (await rows.updateCreator(tx, key, creator)) ?? now;
    }
    if (status === "disabled") {
      const at = new Date(deps.clock.now());
      now = (await rows.disableEndpoint(tx, key, { reason: "requested", at })) ?? now;
    }
    await audit(tx, principal, "changed", endpointId, { status: now.status });
    return now;
  });
  if (changed.status !== before.status) deps.eventNotifier.notify(key.workspaceId);
  if (changed.status === "disabled") await giveUpPending(db, endpointId);
  return changed;
}

export async function removeEndpoint(db: RequestDb, principal: Principal, endpointId: string): Promise<void> {
  const key = { workspaceId: principal.workspaceId, endpointId };
  await transaction(db, async (tx) => {
    if (!(await rows.deleteEndpoint(tx, key))) rows.refuseUnknown();
    await audit(tx, principal, "deleted", endpointId);
  });
  await giveUpPending(db, endpointId);
}

/** The previous secret also signs for `overlapMs`. FORBIDDEN for an API key that may not read the endpoint's events. */
export function rotateSecret(
  { clock, secretBox }: EndpointDeps,
  db: RequestDb,
  principal: Principal,
  endpointId: string,
  overlapMs: number,
): Promise<WithSecret> {
  const key = { workspaceId: principal.workspaceId, endpointId };
  const secret = newWebhookSecret();
  return transaction(db, async (tx) => {
    const held = await rows.lockEndpoint(tx, key);
    requireMayRead(principal, held.events);
    const changed = await rows.updateSecret(tx, key, {
      sealed: sealWebhookSecret(secretBox, endpointId, secret),
      oldSealed: overlapMs > 0 ? held.secret_sealed : null,
      oldUntil: overlapMs > 0 ? new Date(clock.now() + overlapMs) : null,
    });
    await audit(tx, principal, "secret_rotated", endpointId, { overlap_seconds: Math.round(overlapMs / 1000) });
    return { ...changed!, secret };
  });
}

/**
 * The head of the feed: events after it are new. While the lock is held no process reads from the cursor, so no event is
 * missed. When no other endpoint needs earlier events, the cursor moves to the head.
 */
async function lockCursor(tx: PoolClient, workspaceId: string): Promise<number> {
  await run(
    tx,
    "INSERT INTO webhook_cursors (workspace_id, position) VALUES ($1, 0) ON CONFLICT (workspace_id) DO NOTHING",
    [workspaceId],
  );
  await one(tx, "SELECT position FROM webhook_cursors WHERE workspace_id = $1 FOR UPDATE", [workspaceId]);
  const head = await readHead(tx, workspaceId);
  await run(
    tx,
    `UPDATE webhook_cursors SET position = $2 WHERE workspace_id = $1 AND NOT EXISTS (
       SELECT FROM webhook_endpoints WHERE workspace_id = $1 AND status = 'enabled')`,
    [workspaceId, head],
  );
  return head;
}

async function audit(
  tx: PoolClient,
  principal: Principal,
  verb: "created" | "changed" | "deleted" | "secret_rotated",
  endpointId: string,
  details: Record<string, string | number> = {},
): Promise<void> {
  const target = { type: "webhook_endpoint", id: endpointId };
  await recordAuditEvent(tx, principal, { action: `webhook_endpoint.${verb}`, target, details });
}

function areSame(one: readonly string[], other: readonly string[]): boolean {
  return new Set(one).symmetricDifference(new Set(other)).size === 0;
}

/**
 * The URL as it is stored. VALIDATION_ERROR for one that must not be called: unless private IP addresses are allowed,
 * it must be https and public. A public name of a private IP address is refused when it is resolved.
 */
export function requireEndpointUrl(text: string, { allowPrivate }: { allowPrivate: boolean }): string {
  const isTooLong = text.length > maxUrlLength;
  const problem = isTooLong ? `must have at most ${maxUrlLength} characters.` : urlProblem(text, allowPrivate);
  if (problem !== null) throw invalid(`url ${problem}`, { field: "url" });
  return new URL(text).href;
}
