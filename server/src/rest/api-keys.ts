import { apiKeys } from "../../../contract/src/api-keys.ts";
import { type ApiKey, createApiKey, type Forget, listApiKeys, revokeApiKey } from "../credentials/credentials.ts";
import type { App } from "../http/app.ts";
import { decodeCursor, toPage } from "../http/pages.ts";
import { route } from "../http/route.ts";
import type { Clock } from "../lib/clock.ts";

/** `/v1/api-keys`: credentials for programs, which act for the user who created them. */
export function apiKeyRoutes(app: App, deps: { clock: Clock } & Forget): void {
  route(app, apiKeys.createApiKey, async ({ principal, db, body: { expires_at, rate_limit, ...body } }) => {
    const created = await createApiKey({ ...deps, db }, principal, {
      ...body,
      ...(expires_at ? { expiresAt: new Date(expires_at) } : {}),
      ...(rate_limit ? { rateLimit: { perSecond: rate_limit.per_second, burst: rate_limit.burst } } : {}),
    });
    return { ...showApiKey(created), key: created.key };
  });

  route(app, apiKeys.listApiKeys, async ({ principal, db, query: { limit = 50, cursor } }) => {
    const rows = await listApiKeys(db, principal, { limit, after: decodeCursor(cursor) });
    return toPage(rows, limit, showApiKey, (row) => ({ at: row.created_at, id: row.api_key_id }));
  });

  route(app, apiKeys.revokeApiKey, ({ principal, db, params }) => revokeApiKey({ ...deps, db }, principal, params.id));
}

export function showApiKey(row: ApiKey) {
  const { api_key_id, name, key_hint, scopes, created_by, parent_id, rate_per_second, rate_burst } = row;
  return {
    api_key_id,
    name,
    key_hint,
    scopes,
    created_by,
    parent_id,
    expires_at: row.expires_at?.toISOString() ?? null,
    rate_limit:
      rate_per_second === null || rate_burst === null ? null : { per_second: rate_per_second, burst: rate_burst },
    last_used_at: row.last_used_at?.toISOString() ?? null,
    created_at: row.created_at.toISOString(),
  };
}
