import type { Role, Scope } from "../../../contract/src/access.ts";
import { recordAuditEvent } from "../audit/audit.ts";
import type { RequestDb } from "../database-roles.ts";
import { forbidden, invalid, notFound } from "../errors.ts";
import type { Clock } from "../lib/clock.ts";
import { newId } from "../lib/ids.ts";
import type { PageRequest } from "../lib/page-bytes.ts";
import { transaction } from "../lib/postgres.ts";
import { all, type Db, inOrder, maybe, one, run } from "../lib/query.ts";
import { lockCreator } from "./end-access.ts";
import { type Forget, hasRole, type KeyRateLimit, type Principal } from "./principal.ts";
import { hashToken, invalidApiKey, newOpaqueToken } from "./tokens.ts";

export const apiKeyPrefix = "c4a_";

/** Without the key, which only `createApiKey` returns. */
export interface ApiKey {
  api_key_id: string;
  name: string;
  key_hint: string;
  scopes: (Scope | "*")[];
  created_by: string;
  parent_id: string | null;
  expires_at: Date | null;
  rate_per_second: number | null;
  rate_burst: number | null;
  last_used_at: Date | null;
  created_at: Date;
}

interface NewApiKey {
  name: string;
  scopes: (Scope | "*")[];
  expiresAt?: Date;
  rateLimit?: KeyRateLimit | undefined;
}

export const maxKeyChain = 8;

/**
 * The key acts for the caller, within its scopes. A key never creates a stronger one: FORBIDDEN when the calling key
 * lacks one of the scopes, expires sooner, or has a lower limit. A key that a key created ends with it, and shares its
 * limit.
 */
export async function createApiKey(
  { db, clock }: { db: RequestDb; clock: Clock },
  principal: Principal,
  { name, scopes, expiresAt, rateLimit }: NewApiKey,
): Promise<ApiKey & { key: string }> {
  const nowMs = clock.now();
  if (expiresAt !== undefined && !(expiresAt.getTime() > nowMs)) {
    throw invalid("expires_at must be in the future.", { field: "expires_at" });
  }
  const missing = scopes.find((scope) => !principal.scopes.includes("*") && !principal.scopes.includes(scope));
  if (missing !== undefined) throw forbidden(`This API key lacks the scope ${missing} and cannot grant it.`);
  requireWithinOwnLimit(principal.rateLimit, rateLimit);
  const key = newOpaqueToken(apiKeyPrefix);
  const apiKeyId = newId(nowMs);
  const granted = [...new Set(scopes)];
  const created = await transaction(db, async (tx) => {
    const { at } = await lockCreator(tx, clock, principal);
    const ancestorIds = await ancestorsFor(tx, principal, expiresAt);
    const inserted = await one<ApiKey>(
      tx,
      `INSERT INTO api_keys
         (api_key_id, workspace_id, created_by, name, key_hash, key_hint, scopes, expires_at, created_at,
          rate_per_second, rate_burst, ancestor_ids)
       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
       RETURNING ${columns}`,
      [
        apiKeyId,
        principal.workspaceId,
        principal.userId,
        name,
        hashToken(key),
        `${key.slice(0, 8)}…${key.slice(-4)}`,
        granted,
        expiresAt,
        at,
        rateLimit?.perSecond,
        rateLimit?.burst,
        ancestorIds,
      ],
    );
    const details = { scopes: granted.join(" "), expires_at: expiresAt?.toISOString() ?? null };
    await recordAuditEvent(tx, principal, { action: "api_key.created", target: targetOf(apiKeyId), details });
    return inserted;
  });
  return { ...created, key };
}

/** The caller's keys that are not revoked, newest first; for an admin all of the workspace. Up to `limit + 1`. */
export function listApiKeys(db: Db, principal: Principal, page: PageRequest): Promise<ApiKey[]> {
  return all<ApiKey>(
    db,
    `SELECT ${columns} FROM api_keys
      WHERE workspace_id = $1 AND revoked_at IS NULL AND ($2::uuid IS NULL OR created_by = $2)
        AND ($3::timestamptz IS NULL OR (created_at, api_key_id) < ($3, $4::uuid))
      ORDER BY created_at DESC, api_key_id DESC LIMIT $5`,
    [principal.workspaceId, ownOnly(principal), page.after?.at, page.after?.id, page.limit + 1],
  );
}

/** The key of the caller. API_KEY_INVALID when it was just revoked. */
export async function findApiKey(db: Db, { workspaceId, callerId }: Principal): Promise<ApiKey> {
  const row = await maybe<ApiKey>(
    db,
    `SELECT ${columns} FROM api_keys WHERE api_key_id = $1 AND workspace_id = $2 AND revoked_at IS NULL`,
    [callerId, workspaceId],
  );
  if (row === null) throw invalidApiKey();
  return row;
}

/** With all keys created by it or through it. RESOURCE_NOT_FOUND for one that is revoked or not the caller's. */
export async function revokeApiKey(
  { db, clock, forget }: { db: RequestDb; clock: Clock } & Forget,
  principal: Principal,
  apiKeyId: string,
): Promise<void> {
  const now = new Date(clock.now());
  await transaction(db, async (tx) => {
    await lockUserOf(tx, apiKeyId);
    const row = await maybe(
      tx,
      `UPDATE api_keys SET revoked_at = $4
      WHERE api_key_id = $1 AND workspace_id = $2 AND revoked_at IS NULL AND ($3::uuid IS NULL OR created_by = $3)
      RETURNING api_key_id`,
      [apiKeyId, principal.workspaceId, ownOnly(principal), now],
    );
    if (row === null) throw notFound("API key");
    const descendants = await run(
      tx,
      "UPDATE api_keys SET revoked_at = $2 WHERE ancestor_ids @> ARRAY[$1::uuid] AND revoked_at IS NULL",
      [apiKeyId, now],
    );
    await recordAuditEvent(tx, principal, {
      action: "api_key.revoked",
      target: targetOf(apiKeyId),
      details: { descendants },
    });
  });
  forget(apiKeyId);
}

/** Returns how many. Call `forget` with the user after the commit. */
export function revokeApiKeysOf(db: Db, userId: string, now: Date): Promise<number> {
  return run(db, "UPDATE api_keys SET revoked_at = $2 WHERE created_by = $1 AND revoked_at IS NULL", [userId, now]);
}

/** Waits for keys that the user is creating, so that a later statement sees them all. See `lockCreator`. */
async function lockUserOf(tx: Db, apiKeyId: string): Promise<void> {
  const text = "SELECT FROM users WHERE user_id = (SELECT created_by FROM api_keys WHERE api_key_id = $1) FOR UPDATE";
  await run(tx, text, [apiKeyId]);
}

export interface LiveApiKey {
  apiKeyId: string;
  workspaceId: string;
  userId: string;
  role: Role;
  scopes: (Scope | "*")[];
  expiresAt: Date | null;
  ratePerSecond: number | null;
  rateBurst: number | null;
  ancestors: Pick<LiveApiKey, "apiKeyId" | "ratePerSecond" | "rateBurst">[];
}

/** In the same order; null for a key that does not work, or one above it. Updates `last_used_at` once a minute. */
export async function useApiKeys(db: Db, keyHashes: readonly Buffer[], now: Date): Promise<(LiveApiKey | null)[]> {
  const rows = await all<LiveApiKey & { position: number }>(
    db,
    // Skips a key that another process is updating.
    `WITH unnoted AS (
       SELECT api_key_id FROM api_keys
        WHERE key_hash = ANY ($1::bytea[]) AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)
          AND (last_used_at IS NULL OR last_used_at <= $2::timestamptz - interval '1 minute')
        FOR NO KEY UPDATE SKIP LOCKED
     ), noted AS (
       UPDATE api_keys k SET last_used_at = $2 FROM unnoted WHERE k.api_key_id = unnoted.api_key_id
     )
     SELECT asked.position, k.api_key_id AS "apiKeyId", k.workspace_id AS "workspaceId", u.user_id AS "userId", u.role,
            k.scopes, k.expires_at AS "expiresAt", k.rate_per_second AS "ratePerSecond", k.rate_burst AS "rateBurst",
            line.ancestors
       FROM unnest($1::bytea[]) WITH ORDINALITY AS asked (key_hash, position)
       JOIN api_keys k ON k.key_hash = asked.key_hash AND k.revoked_at IS NULL
                      AND (k.expires_at IS NULL OR k.expires_at > $2)
       JOIN users u ON u.user_id = k.created_by AND u.disabled_at IS NULL
       CROSS JOIN LATERAL (
         SELECT coalesce(json_agg(json_build_object(
                  'apiKeyId', a.api_key_id, 'ratePerSecond', a.rate_per_second, 'rateBurst', a.rate_burst)), '[]') AS ancestors,
                count(*) FILTER (WHERE a.revoked_at IS NULL AND (a.expires_at IS NULL OR a.expires_at > $2)) AS working
           FROM api_keys a WHERE a.api_key_id = ANY (k.ancestor_ids)
       ) line
      WHERE line.working = cardinality(k.ancestor_ids)`,
    [keyHashes, now],
  );
  return inOrder(keyHashes.length, rows);
}

function targetOf(apiKeyId: string) {
  return { type: "api_key", id: apiKeyId };
}

const columns = `api_key_id, name, key_hint, scopes, created_by, ancestor_ids[cardinality(ancestor_ids)] AS parent_id,
       expires_at, rate_per_second, rate_burst, last_used_at, created_at`;

function requireWithinOwnLimit(own: KeyRateLimit | null, given: KeyRateLimit | undefined): void {
  if (own === null || given === undefined) return;
  if (given.perSecond <= own.perSecond && given.burst <= own.burst) return;
  throw forbidden("This API key has a rate limit, so a key that it creates must not have a higher one.");
}

async function ancestorsFor(tx: Db, principal: Principal, expiresAt: Date | undefined): Promise<string[]> {
  const { kind, callerId } = principal;
  if (kind !== "api_key") return [];
  const { expires_at, ancestor_ids } = await one<{ expires_at: Date | null; ancestor_ids: string[] }>(
    tx,
    "SELECT expires_at, ancestor_ids FROM api_keys WHERE api_key_id = $1",
    [callerId],
  );
  if (expires_at !== null && (expiresAt === undefined || expiresAt > expires_at)) {
    throw forbidden("This API key expires, so a key that it creates must not expire later.");
  }
  if (ancestor_ids.length + 1 >= maxKeyChain) {
    throw forbidden(
      `A chain in which each API key created the next has at most ${maxKeyChain} keys. Create this key with an earlier key of the chain.`,
    );
  }
  return [...ancestor_ids, callerId];
}

function ownOnly(principal: Principal): string | null {
  return hasRole(principal, "admin") ? null : principal.userId;
}
