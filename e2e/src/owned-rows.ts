import pg from "pg";

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

/** Leases and wake-ups: they change while nothing happens. */
const restless = /^(bus_|webhook_senders$|schema_migrations$)/;
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
