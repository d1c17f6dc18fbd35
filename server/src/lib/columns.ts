import { plainArray } from "./query.ts";

/**
 * A column of rows that are the parameters of a statement, one array for each column. Values of other types than `text` and
 * `jsonb` need no escapes, see `plainArray`.
 */
export type Column<Item> = readonly [
  name: string,
  type: string,
  of: (item: Item) => string | number | boolean | null | undefined,
];

/** SQL: the rows as `i`, with their `place` from 1; the parameters begin at `$first`. */
export function rowsOf(columns: readonly Column<never>[], first = 1): string {
  const arrays = columns.map(([, type], index) => `$${first + index}::${type}[]`);
  return `unnest(${arrays.join(", ")}) WITH ORDINALITY AS i (${columns.map(([name]) => name).join(", ")}, place)`;
}

export function columnValues<Item>(columns: readonly Column<Item>[], items: readonly Item[]): unknown[] {
  return columns.map(([, type, of]) => {
    const values = items.map(of);
    return type === "text" || type === "jsonb" ? values : plainArray(values);
  });
}
