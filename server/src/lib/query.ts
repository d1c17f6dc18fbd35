import type pg from "pg";

export type Db = Pick<pg.Pool | pg.PoolClient, "query">;

export async function all<Row>(db: Db, text: string, values: readonly unknown[] = []): Promise<Row[]> {
  return (await db.query(text, values as unknown[])).rows as Row[];
}

/** For a statement that runs often: each connection parses and plans it once, under this name. */
export async function allPrepared<Row>(db: Db, name: string, text: string, values: readonly unknown[]): Promise<Row[]> {
  return (await db.query({ name, text, values: values as unknown[] })).rows as Row[];
}

export async function maybe<Row>(db: Db, text: string, values: readonly unknown[] = []): Promise<Row | null> {
  return (await all<Row>(db, text, values))[0] ?? null;
}

export async function one<Row>(db: Db, text: string, values: readonly unknown[] = []): Promise<Row> {
  const row = await maybe<Row>(db, text, values);
  if (row === null) throw new Error("a statement that must return a row returned none");
  return row;
}

/** The number of changed rows. */
export async function run(db: Db, text: string, values: readonly unknown[] = []): Promise<number> {
  return (await db.query(text, values as unknown[])).rowCount ?? 0;
}

/** Rows by their `position` (`WITH ORDINALITY`, from 1); null where there is none. */
export function inOrder<Row extends { position: number }>(count: number, rows: readonly Row[]): (Row | null)[] {
  const found = new Array<Row | null>(count).fill(null);
  for (const row of rows) found[row.position - 1] = row;
  return found;
}

/** For values without quotes, backslashes, braces, commas and spaces: the driver's check of each is slow. */
export function plainArray(values: readonly (string | number | boolean | null | undefined)[]): string {
  return `{${values.map((value) => value ?? "NULL").join(",")}}`;
}

/** In no text of JSON: `JSON.stringify` escapes it. */
const separator = "\x1e";

/**
 * Texts of JSON as one parameter for `splitTexts`. In an array they would be escaped here and read there character by
 * character.
 */
export function joinTexts(texts: readonly string[]): string {
  return texts.join(separator);
}

/** SQL: the texts of a parameter as an array. */
export function splitTexts(parameter: string): string {
  return `string_to_array(${parameter}, chr(${separator.charCodeAt(0)}))`;
}

/** SQL: a `timestamptz` as it is written in JSON. */
export function isoTime(time: string): string {
  return `to_char(${time} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`;
}
