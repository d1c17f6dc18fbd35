import type { disabledReasons } from "../../../contract/src/webhook-endpoints.ts";
import type { Creator } from "../credentials/credentials.ts";
import { notFound } from "../errors.ts";
import { all, type Db, maybe, run } from "../lib/query.ts";

export type EndpointStatus = "enabled" | "disabled";

export type DisabledReason = (typeof disabledReasons)[number];

export interface WebhookEndpoint {
  webhook_endpoint_id: string;
  workspace_id: string;
  url: string;
  events: string[];
  description: string | null;
  is_ordered: boolean;
  status: EndpointStatus;
  disabled_at: Date | null;
  disabled_reason: DisabledReason | null;
  failing_since: Date | null;
  old_secret_until: Date | null;
  /** The user by whose access it gets events, and the API key, if any; null for an old endpoint. */
  made_by: string | null;
  made_by_key: string | null;
  created_at: Date;
}

export interface SealedEndpoint extends WebhookEndpoint {
  secret_sealed: Buffer;
  old_secret_sealed: Buffer | null;
}

export interface EndpointKey {
  workspaceId: string;
  endpointId: string;
}

interface NewEndpointRow extends EndpointKey {
  url: string;
  events: readonly string[];
  description: string | null;
  isOrdered: boolean;
  startsAfter: number;
  secretSealed: Buffer;
  creator: Creator;
}

export async function insertEndpoint(db: Db, row: NewEndpointRow): Promise<WebhookEndpoint> {
  const made = await maybe<WebhookEndpoint>(
    db,
    `INSERT INTO webhook_endpoints (webhook_endpoint_id, workspace_id, url, events, description, is_ordered, status,
       starts_after, secret_sealed, created_at, made_at, made_by, made_by_key)
     VALUES ($1, $2, $3, $4, $5, $6, 'enabled', $7, $8, $9, $9, $10, $11) RETURNING ${columns}`,
    [
      row.endpointId,
      row.workspaceId,
      row.url,
      row.events,
      row.description,
      row.isOrdered,
      row.startsAfter,
      row.secretSealed,
      row.creator.at,
      row.creator.userId,
      row.creator.apiKeyId,
    ],
  );
  return made!;
}

export async function countEndpoints(db: Db, workspaceId: string): Promise<number> {
  const row = await maybe<{ count: number }>(
    db,
    "SELECT count(*) AS count FROM webhook_endpoints WHERE workspace_id = $1",
    [workspaceId],
  );
  return row!.count;
}

export function listEndpoints(
  db: Db,
  workspaceId: string,
  page: { limit: number; after?: { at: Date; id: string } | undefined },
): Promise<WebhookEndpoint[]> {
  return all(
    db,
    `SELECT ${columns} FROM webhook_endpoints
     WHERE workspace_id = $1 AND ($2::timestamptz IS NULL OR (created_at, webhook_endpoint_id) < ($2, $3::uuid))
     ORDER BY created_at DESC, webhook_endpoint_id DESC LIMIT $4`,
    [workspaceId, page.after?.at ?? null, page.after?.id ?? null, page.limit + 1],
  );
}

/** RESOURCE_NOT_FOUND when absent or of another workspace. */
export async function findEndpoint(db: Db, key: EndpointKey): Promise<WebhookEndpoint> {
  const text = `SELECT ${columns} FROM webhook_endpoints WHERE ${byKey}`;
  return (await maybe<WebhookEndpoint>(db, text, keyOf(key))) ?? refuseUnknown();
}

export async function findSealedEndpoint(db: Db, key: EndpointKey): Promise<SealedEndpoint> {
  const text = `SELECT ${sealedColumns} FROM webhook_endpoints WHERE ${byKey}`;
  return (await maybe<SealedEndpoint>(db, text, keyOf(key))) ?? refuseUnknown();
}

export async function lockEndpoint(db: Db, key: EndpointKey): Promise<SealedEndpoint> {
  const text = `SELECT ${sealedColumns} FROM webhook_endpoints WHERE ${byKey} FOR UPDATE`;
  return (await maybe<SealedEndpoint>(db, text, keyOf(key))) ?? refuseUnknown();
}

export async function lockEndpoints(db: Db, workspaceId: string, endpointIds: readonly string[]): Promise<void> {
  const text = `SELECT FROM webhook_endpoints WHERE workspace_id = $1 AND webhook_endpoint_id = ANY ($2)
    ORDER BY webhook_endpoint_id FOR UPDATE`;
  await run(db, text, [workspaceId, endpointIds]);
}

export interface EndpointChanges {
  url?: string | undefined;
  events?: readonly string[] | undefined;
  description?: string | null | undefined;
  isOrdered?: boolean | undefined;
}

/** Omitted fields stay. A new URL starts without the failures of the old one. */
export function updateEndpoint(db: Db, key: EndpointKey, changes: EndpointChanges): Promise<WebhookEndpoint | null> {
  const { url, events, description, isOrdered } = changes;
  return maybe(
    db,
    `UPDATE webhook_endpoints SET url = coalesce($3, url), events = coalesce($4, events),
       description = CASE WHEN $5 THEN $6 ELSE description END, is_ordered = coalesce($7, is_ordered),
       failing_since = CASE WHEN $3 <> url THEN NULL ELSE failing_since END,
       rests_until = CASE WHEN $3 <> url THEN NULL ELSE rests_until END
     WHERE ${byKey} RETURNING ${columns}`,
    [...keyOf(key), url ?? null, events ?? null, description !== undefined, description ?? null, isOrdered ?? null],
  );
}

export function updateCreator(db: Db, key: EndpointKey, { userId, apiKeyId, at }: Creator) {
  return maybe<WebhookEndpoint>(
    db,
    `UPDATE webhook_endpoints SET made_by = $3, made_by_key = $4, made_at = $5, is_authorized = true
     WHERE ${byKey} RETURNING ${columns}`,
    [...keyOf(key), userId, apiKeyId, at],
  );
}

export function enableEndpoint(db: Db, key: EndpointKey, startsAfter: number): Promise<WebhookEndpoint | null> {
  return maybe(
    db,
    `UPDATE webhook_endpoints SET status = 'enabled', disabled_at = NULL, disabled_reason = NULL, failing_since = NULL,
       rests_until = NULL, starts_after = $3
     WHERE ${byKey} RETURNING ${columns}`,
    [...keyOf(key), startsAfter],
  );
}

/**
 * Null when it was not enabled. With `failingSince`, only if it has failed since then or longer; for
 * `maker_lost_access`, only if its creator still could not create it.
 */
export function disableEndpoint(
  db: Db,
  key: EndpointKey,
  { reason, at, failingSince }: { reason: DisabledReason; at: Date; failingSince?: Date },
): Promise<WebhookEndpoint | null> {
  return maybe(
    db,
    `UPDATE webhook_endpoints SET status = 'disabled', disabled_at = $3, disabled_reason = $4
     WHERE ${byKey} AND status = 'enabled' AND ($5::timestamptz IS NULL OR failing_since <= $5)
       AND ($4 <> 'maker_lost_access' OR NOT (${isHeld("$3")}))
     RETURNING ${columns}`,
    [...keyOf(key), at, reason, failingSince ?? null],
  );
}

export function updateSecret(
  db: Db,
  key: EndpointKey,
  secrets: { sealed: Buffer; oldSealed: Buffer | null; oldUntil: Date | null },
): Promise<WebhookEndpoint | null> {
  return maybe(
    db,
    `UPDATE webhook_endpoints SET secret_sealed = $3, old_secret_sealed = $4, old_secret_until = $5
     WHERE ${byKey} RETURNING ${columns}`,
    [...keyOf(key), secrets.sealed, secrets.oldSealed, secrets.oldUntil],
  );
}

/** Its deliveries stay until they are old. */
export async function deleteEndpoint(db: Db, key: EndpointKey): Promise<boolean> {
  return (await run(db, `DELETE FROM webhook_endpoints WHERE ${byKey}`, keyOf(key))) > 0;
}

export interface EnabledEndpoint extends Pick<WebhookEndpoint, "webhook_endpoint_id" | "events" | "failing_since"> {
  starts_after: number;
  is_held: boolean;
}

/** SQL: whether the creator of the endpoint could create it at the time `at`, a parameter. */
export function isHeld(at: string): string {
  return `is_authorized AND (made_by IS NULL OR admin_holds(made_by, made_by_key, ${at}))`;
}

/** Up to 100 enabled endpoints whose creator could not create them now: as `isHeld`, but checks each creator once. */
export function endpointsWithoutCreator(db: Db, now: Date): Promise<EndpointKey[]> {
  return all(
    db,
    `WITH creators AS MATERIALIZED (
       SELECT DISTINCT made_by, made_by_key FROM webhook_endpoints WHERE status = 'enabled' AND made_by IS NOT NULL
     ), lost AS MATERIALIZED (
       SELECT made_by, made_by_key FROM creators WHERE NOT admin_holds(made_by, made_by_key, $1)
     )
     SELECT workspace_id AS "workspaceId", webhook_endpoint_id AS "endpointId" FROM webhook_endpoints
     WHERE status = 'enabled' AND NOT is_authorized
     UNION ALL
     SELECT e.workspace_id, e.webhook_endpoint_id FROM lost JOIN webhook_endpoints e
       ON e.made_by = lost.made_by AND e.made_by_key IS NOT DISTINCT FROM lost.made_by_key
     WHERE e.status = 'enabled' AND e.is_authorized LIMIT 100`,
    [now],
  );
}

export function enabledEndpoints(db: Db, workspaceId: string, now: Date): Promise<EnabledEndpoint[]> {
  return all(
    db,
    `SELECT webhook_endpoint_id, events, starts_after, failing_since, ${isHeld("$2")} AS is_held FROM webhook_endpoints
     WHERE workspace_id = $1 AND status = 'enabled'`,
    [workspaceId, now],
  );
}

export function refuseUnknown(): never {
  throw notFound("webhook endpoint");
}

const byKey = "workspace_id = $1 AND webhook_endpoint_id = $2";

function keyOf({ workspaceId, endpointId }: EndpointKey): [string, string] {
  return [workspaceId, endpointId];
}

const columns = `webhook_endpoint_id, workspace_id, url, events, description, is_ordered, status, disabled_at,
  disabled_reason, failing_since, old_secret_until, made_by, made_by_key, created_at`;
const sealedColumns = `${columns}, secret_sealed, old_secret_sealed`;
