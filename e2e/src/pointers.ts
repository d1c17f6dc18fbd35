import pg from "pg";
import type { Owner } from "./owned-rows.ts";
import { type OwnedTable, ownedTables } from "./owned-tables.ts";

/** A column that names a row of some table. */
export interface Pointer {
  table: OwnedTable;
  column: string;
}

/** Columns with the name of one that are none. */
const noPointers: Record<string, string> = {
  "idempotency_keys.work_id": "ids derive from it",
  "tasks.owner_id": "a process",
  "tasks.queue_id": "generated from other columns",
  "webhook_deliveries.owner_id": "a process",
};

/**
 * Every column with an id in a table that requests can access, except `workspace_id` and the row's own id. From the
 * catalog, so that new columns are included.
 */
export async function pointersOf(owner: Owner): Promise<Pointer[]> {
  const tables = new Map((await ownedTables(owner)).map((table) => [table.name, table]));
  const rows = await owner.all<{ name: string; column: string }>(
    `SELECT c.relname AS name, a.attname AS column
     FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
     WHERE c.relnamespace = current_schema()::regnamespace AND c.relname = ANY ($1) AND a.attname <> 'workspace_id'
       AND a.atttypid IN ('uuid'::regtype, 'uuid[]'::regtype)
       AND NOT EXISTS (
         SELECT FROM pg_constraint k
         WHERE k.conrelid = c.oid AND k.contype = 'p' AND NOT EXISTS (
           SELECT FROM pg_constraint f WHERE f.conrelid = c.oid AND f.contype = 'f' AND a.attnum = ANY (f.conkey))
           AND (SELECT array_agg(p.attname::text) FROM pg_attribute p
                WHERE p.attrelid = c.oid AND p.attnum = ANY (k.conkey) AND p.attname <> 'workspace_id') = ARRAY[a.attname::text])
     ORDER BY c.relname, a.attnum`,
    [[...tables.keys()]],
  );
  return rows
    .filter(({ name, column }) => !(`${name}.${column}` in noPointers))
    .map(({ name, column }) => ({ table: tables.get(name)!, column }));
}

interface Attempted {
  /** The error for a row that names a row of the same workspace; null: accepted. */
  own: string | null;
  /** The error for the same row when it names a row of the other workspace. */
  foreign: string | null;
}

/** Most rows of the own workspace that are tried, until the database accepts one unchanged. */
const tries = 20;

/**
 * Tries, as a request of workspace `ours`, to write one of its rows with the column's value of a row of `theirs`.
 * Leaves nothing behind. Null when `theirs` has no such row. `client` connects as a superuser.
 */
export async function pointElsewhere(
  client: pg.Client,
  { table, column }: Pointer,
  verb: "INSERT" | "UPDATE",
  { ours, theirs }: { ours: string; theirs: string },
): Promise<Attempted | null> {
  const rowsOf = async (workspaceId: string, condition = "true", limit = tries) =>
    (
      await client.query<{ ctid: string; row: Record<string, unknown>; value: string }>(
        `SELECT ctid::text AS ctid, to_jsonb(t) AS row, ${column}::text AS value FROM ${table.name} t
         WHERE ${table.workspace} = $1 AND ${condition} ORDER BY ${column} IS NULL LIMIT ${limit}`,
        [workspaceId],
      )
    ).rows;
  const pointing = `${column} IS NOT NULL AND ${column}::text <> '{}'`;
  const [foreign] = await rowsOf(theirs, pointing, 1);
  if (foreign === undefined) return null;
  let attempted: Attempted | null = null;
  for (const own of await rowsOf(ours)) {
    await client.query("BEGIN");
    try {
      // Deletes the rows first, so that unique values are free.
      await client.query("SET LOCAL session_replication_role = replica");
      const gone = verb === "INSERT" ? [own.ctid, foreign.ctid] : [foreign.ctid];
      await client.query(`DELETE FROM ${table.name} WHERE ctid = ANY ($1::tid[])`, [gone]);
      await client.query("SET LOCAL session_replication_role = origin");
      await client.query("SELECT set_config('chat4all.workspace_id', $1, true)", [ours]);
      await client.query("SET LOCAL ROLE chat4all_api");
      const write = (value: unknown) =>
        verb === "INSERT"
          ? insert(client, table, { ...own.row, [column]: value })
          : update(client, table, column, own.ctid, value);
      attempted = {
        own: await refusal(client, () => write(own.row[column])),
        foreign: await refusal(client, () => write(foreign.row[column])),
      };
    } finally {
      await client.query("ROLLBACK");
    }
    if (attempted.own === null || attempted.own.startsWith("42501 permission denied")) return attempted;
  }
  return attempted;
}

async function insert(client: pg.Client, table: OwnedTable, row: Record<string, unknown>): Promise<void> {
  // Only columns that the row has a value in: requests may not be allowed to set others.
  const names = table.writable.split(", ").filter((name) => row[name] !== null);
  await client.query(
    `INSERT INTO ${table.name} (${names}) OVERRIDING SYSTEM VALUE
     SELECT ${names} FROM jsonb_populate_record(NULL::${table.name}, $1)`,
    [row],
  );
}

async function update(client: pg.Client, { name }: OwnedTable, column: string, ctid: string, value: unknown) {
  const { rowCount } = await client.query(
    `UPDATE ${name} SET ${column} = (jsonb_populate_record(NULL::${name}, $1)).${column} WHERE ctid = $2::tid`,
    [{ [column]: value }, ctid],
  );
  if (rowCount !== 1) throw new Error(`${name} has no such row`);
}

/** Code and message of the error; null when accepted. The transaction continues as before. */
async function refusal(client: pg.Client, write: () => Promise<void>): Promise<string | null> {
  await client.query("SAVEPOINT attempt");
  try {
    await write();
    await client.query("SET CONSTRAINTS ALL IMMEDIATE");
    return null;
  } catch (error) {
    if (error instanceof pg.DatabaseError) return `${error.code} ${error.message}`;
    throw error;
  } finally {
    await client.query("ROLLBACK TO SAVEPOINT attempt");
  }
}
