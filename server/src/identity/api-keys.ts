import { recordAct } from "../audit/audit.ts";
import { forbidden, invalid, notFound, RequestError } from "../errors.ts";
import type { Clock } from "../lib/clock.ts";
import { newId } from "../lib/ids.ts";
import { type Pool, transaction } from "../lib/postgres.ts";
import { all, type Db, maybe, one } from "../lib/query.ts";
import type { Authenticator } from "./authenticate.ts";
import { hasRole, type Principal, type Role, type Scope } from "./principal.ts";
import { hashToken, newOpaqueToken } from "./tokens.ts";

export const apiKeyPrefix = "c4a_";

/** An API key without the key: that is shown once, by `createApiKey`. */
export interface ApiKey {
  api_key_id: string;
  name: string;
  /** The key's beginning and end, to tell keys apart. */
  key_hint: string;
  scopes: (Scope | "*")[];
  created_by: string;
  expires_at: Date | null;
  last_used_at: Date | null;
  created_at: Date;
}

export interface NewApiKey {
  name: string;
  /** Default: all. */
  scopes?: (Scope | "*")[];
  expiresAt?: Date;
}

/**
 * A key that acts for the caller, within its scopes. FORBIDDEN when the caller is itself a key that lacks one of them:
 * a key never makes a stronger one.
 */
export async function createApiKey(
  { db, clock }: { db: Pool; clock: Clock },
  principal: Principal,
  { name, scopes = ["*"], expiresAt }: NewApiKey,
): Promise<ApiKey & { key: string }> {
  const nowMs = clock.now();
  if (expiresAt !== undefined && !(expiresAt.getTime() > nowMs)) {
    throw invalid("expires_at must lie in the future.", { field: "expires_at" });
  }
  const missing = scopes.find((scope) => !principal.scopes.includes("*") && !principal.scopes.includes(scope));
  if (missing !== undefined) throw forbidden(`This API key lacks the scope ${missing} and cannot give it.`);
  const key = newOpaqueToken(apiKeyPrefix);
  const row = {
    apiKeyId: newId(nowMs),
    principal,
    name,
    keyHash: hashToken(key),
    keyHint: `${key.slice(0, 8)}…${key.slice(-4)}`,
    scopes: [...new Set(scopes)],
    expiresAt,
    now: new Date(nowMs),
  };
  const made = await transaction(db, async (tx) => {
    const inserted = await insertApiKey(tx, row);
    const details = { scopes: row.scopes.join(" "), expires_at: expiresAt?.toISOString() ?? null };
    await recordAct(tx, principal, { action: "api_key.created", target: targetOf(row.apiKeyId), details });
    return inserted;
  });
  return { ...made, key };
}

/** The caller's keys that were not revoked, newest first; for an admin all of the workspace. `limit + 1` rows. */
export function listApiKeys(
  db: Db,
  principal: Principal,
  page: { limit: number; after?: { at: Date; id: string } | undefined },
): Promise<ApiKey[]> {
  return all<ApiKey>(
    db,
    `SELECT ${columns} FROM api_keys
      WHERE workspace_id = $1 AND revoked_at IS NULL AND ($2::uuid IS NULL OR created_by = $2)
        AND ($3::timestamptz IS NULL OR (created_at, api_key_id) < ($3, $4::uuid))
      ORDER BY created_at DESC, api_key_id DESC LIMIT $5`,
    [principal.workspaceId, ownOnly(principal), page.after?.at, page.after?.id, page.limit + 1],
  );
}

/** From now on the key is unknown. Throws RESOURCE_NOT_FOUND for one that is revoked already, or not the caller's. */
export async function revokeApiKey(
  { db, clock, forget }: { db: Pool; clock: Clock } & Pick<Authenticator, "forget">,
  principal: Principal,
  apiKeyId: string,
): Promise<void> {
  await transaction(db, async (tx) => {
    const row = await maybe(
      tx,
      `UPDATE api_keys SET revoked_at = $4
      WHERE api_key_id = $1 AND workspace_id = $2 AND revoked_at IS NULL AND ($3::uuid IS NULL OR created_by = $3)
      RETURNING api_key_id`,
      [apiKeyId, principal.workspaceId, ownOnly(principal), new Date(clock.now())],
    );
    if (row === null) throw notFound("API key");
    await recordAct(tx, principal, { action: "api_key.revoked", target: targetOf(apiKeyId) });
  });
  forget(apiKeyId);
}

/**
 * The working key with this hash and the live role of its maker; null for an unknown, revoked or expired one, or when
 * the maker is disabled. Notes the use, at most once a minute.
 */
export function useApiKey(db: Db, keyHash: Buffer, now: Date) {
  return maybe<{
    api_key_id: string;
    workspace_id: string;
    user_id: string;
    role: Role;
    scopes: (Scope | "*")[];
    expires_at: Date | null;
  }>(
    db,
    `WITH used AS (
       UPDATE api_keys SET last_used_at = $2
        WHERE key_hash = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)
          AND (last_used_at IS NULL OR last_used_at <= $2::timestamptz - interval '1 minute')
     )
     SELECT k.api_key_id, k.workspace_id, u.user_id, u.role, k.scopes, k.expires_at
       FROM api_keys k JOIN users u ON u.user_id = k.created_by
      WHERE k.key_hash = $1 AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > $2)
        AND u.disabled_at IS NULL`,
    [keyHash, now],
  );
}

function targetOf(apiKeyId: string) {
  return { type: "api_key", id: apiKeyId };
}

export function invalidApiKey(): RequestError {
  return new RequestError("API_KEY_INVALID", "This API key is unknown, revoked or expired: make a new one.");
}

const columns = "api_key_id, name, key_hint, scopes, created_by, expires_at, last_used_at, created_at";

function ownOnly(principal: Principal): string | null {
  return hasRole(principal, "admin") ? null : principal.userId;
}

function insertApiKey(
  db: Db,
  row: {
    apiKeyId: string;
    principal: Principal;
    name: string;
    keyHash: Buffer;
    keyHint: string;
    scopes: string[];
    expiresAt: Date | undefined;
    now: Date;
  },
): Promise<ApiKey> {
  return one<ApiKey>(
    db,
    `INSERT INTO api_keys
       (api_key_id, workspace_id, created_by, name, key_hash, key_hint, scopes, expires_at, created_at)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
     RETURNING ${columns}`,
    [
      row.apiKeyId,
      row.principal.workspaceId,
      row.principal.userId,
      row.name,
      row.keyHash,
      row.keyHint,
      row.scopes,
      row.expiresAt ?? null,
      row.now,
    ],
  );
}
