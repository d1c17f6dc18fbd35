import pg from "pg";
import { until } from "../../server/src/testing/until.ts";
import type { TestHub } from "./harness.ts";
import type { Workspace } from "./workspace.ts";

/** Statements of the user that owns the schema: it sees all rows. */
export type Owner = AsyncDisposable & {
  all<Row extends object>(text: string, values?: unknown[]): Promise<Row[]>;
};

export async function openOwner(databaseUrl: string): Promise<Owner> {
  const client = new pg.Client({ connectionString: databaseUrl, application_name: "chat4all tests" });
  await client.connect();
  return {
    all: async <Row extends object>(text: string, values: unknown[] = []) =>
      (await client.query<Row>(text, values)).rows,
    [Symbol.asyncDispose]: () => client.end(),
  };
}

/** Leases, wake-ups and counts of past hours: they change while nothing happens. */
const restless = /^(bus_|webhook_senders$|counted_hours$|hourly_counts$|schema_migrations$)/;
/** Notes of when something was last used. */
const restlessColumns = ["last_used_at"];

/** What the database holds, a fingerprint for each table. */
export async function takeSnapshot(owner: Owner): Promise<Map<string, string>> {
  const tables = await owner.all<{ name: string }>(
    `SELECT relname AS name FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition AND relnamespace = current_schema()::regnamespace
     ORDER BY relname`,
  );
  const compared = tables.filter(({ name }) => !restless.test(name));
  const rows = await owner.all<{ name: string; print: string }>(
    compared
      .map(
        ({ name }) => `SELECT '${name}' AS name, count(*) || ' rows, '
          || coalesce(md5(string_agg(row, ',' ORDER BY row)), '') AS print
          FROM (SELECT md5((to_jsonb(t) - $1::text[])::text) AS row FROM ${name} t) rows`,
      )
      .join(" UNION ALL "),
    [restlessColumns],
  );
  return new Map(rows.map(({ name, print }) => [name, print]));
}

/** The tables that are not as they were. */
export function changedTables(before: Map<string, string>, after: Map<string, string>): string[] {
  return [...after].filter(([name, print]) => before.get(name) !== print).map(([name]) => name);
}

/** Waits until nothing is on its way: no message, no event for a webhook endpoint, no task. */
export async function quiet(hub: TestHub, owner: Owner): Promise<void> {
  await hub.settled();
  await until("every endpoint has an attempt", async () => {
    const [row] = await owner.all<{ waiting: string }>(
      `SELECT (SELECT count(*) FROM webhook_deliveries WHERE status = 'pending') +
        (SELECT count(*) FROM webhook_cursors c JOIN event_heads h USING (workspace_id)
         WHERE c.position < h.last_position AND EXISTS (
           SELECT FROM webhook_endpoints e WHERE e.workspace_id = c.workspace_id AND e.status = 'enabled')) +
        (SELECT count(*) FROM tasks WHERE status IN ('pending', 'running')) AS waiting`,
    );
    return Number(row!.waiting) === 0;
  });
}

/**
 * From here on only the test changes rows: the webhook endpoints ask for an event that does not happen. They stay
 * enabled, because what still waited for a disabled one is given up later, by maintenance.
 */
export async function quietEndpoints(hub: TestHub, owner: Owner, workspaces: readonly Workspace[]): Promise<void> {
  for (const { admin } of workspaces) {
    for (const { webhook_endpoint_id } of (await admin.client.webhookEndpoints.list()).data) {
      await admin.client.webhookEndpoints.change(webhook_endpoint_id, { events: ["webhook_endpoint.enabled"] });
    }
  }
  await quiet(hub, owner);
}
