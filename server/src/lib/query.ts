import type pg from "pg";

/** Where a statement runs: the pool, or the client that holds a transaction. */
export type Db = Pick<pg.Pool | pg.PoolClient, "query">;

/** All rows. */
export async function all<Row>(db: Db, text: string, values: readonly unknown[] = []): Promise<Row[]> {
  return (await db.query(text, values as unknown[])).rows as Row[];
}

/** All rows of a statement that runs often: each connection parses and plans it once, under this name. */
export async function allPrepared<Row>(db: Db, name: string, text: string, values: readonly unknown[]): Promise<Row[]> {
  return (await db.query({ name, text, values: values as unknown[] })).rows as Row[];
}

/** The first row, or null. */
export async function maybe<Row>(db: Db, text: string, values: readonly unknown[] = []): Promise<Row | null> {
  return (await all<Row>(db, text, values))[0] ?? null;
}

/** The one row that must be there. */
export async function one<Row>(db: Db, text: string, values: readonly unknown[] = []): Promise<Row> {
  const row = await maybe<Row>(db, text, values);
  if (row === null) throw new Error("a statement that must return a row returned none");
  return row;
}

/** How many rows it changed. */
export async function run(db: Db, text: string, values: readonly unknown[] = []): Promise<number> {
  return (await db.query(text, values as unknown[])).rowCount ?? 0;
}

/** Rows by the position of what was asked for (`WITH ORDINALITY`, from 1); null where nothing was found. */
export function inOrder<Row extends { position: number }>(count: number, rows: readonly Row[]): (Row | null)[] {
  const found = new Array<Row | null>(count).fill(null);
  for (const row of rows) found[row.position - 1] = row;
  return found;
}

/**
 * An array of ids, numbers, times or other values without quotes, backslashes, braces, commas or spaces, as PostgreSQL
 * reads it. The driver would look for such in each of them, which costs more than all the rest of the hot statements.
 */
export function plainArray(values: readonly (string | number | boolean | null | undefined)[]): string {
  return `{${values.map((value) => value ?? "NULL").join(",")}}`;
}
