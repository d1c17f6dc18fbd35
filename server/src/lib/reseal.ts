import { all, type Db, run } from "./query.ts";
import type { SecretBox } from "./secret-box.ts";

/** A column of envelopes, one in each row; null and empty have none. */
export interface SealedColumn {
  table: string;
  column: string;
  key: readonly string[];
  contextOf(...key: string[]): string;
  /** Rows live for less than a day, so old envelopes disappear. Default: false. */
  isShortLived?: boolean;
}

interface Resealed {
  table: string;
  column: string;
  resealed: number;
  failed: number;
}

const pageSize = 500;

/** Seals with the newest key. Skips a row that changes meanwhile. Safe to repeat, and in several processes at once. */
export function reseal(db: Db, box: SecretBox, columns: readonly SealedColumn[]): Promise<Resealed[]> {
  return Array.fromAsync(columns, (column) => resealColumn(db, box, column));
}

/** Columns with envelopes whose key this box does not have, without short-lived ones. */
export async function findForeignSeals(
  db: Db,
  box: SecretBox,
  columns: readonly SealedColumn[],
): Promise<SealedColumn[]> {
  const foreign: SealedColumn[] = [];
  for (const sealed of columns.filter(({ isShortLived }) => !isShortLived)) {
    const { table, column } = sealed;
    const found = await all(
      db,
      `SELECT 1 FROM ${table}
        WHERE octet_length(${column}) > 0
          AND NOT EXISTS (SELECT FROM unnest($1::bytea[]) AS known (header)
                           WHERE substring(${column} FROM 1 FOR octet_length(header)) = header)
        LIMIT 1`,
      [box.headers],
    );
    if (found.length > 0) foreign.push(sealed);
  }
  return foreign;
}

async function resealColumn(db: Db, box: SecretBox, sealed: SealedColumn): Promise<Resealed> {
  const { table, column, contextOf } = sealed;
  const result = { table, column, resealed: 0, failed: 0 };
  for (let after: string[] | null = null; ; ) {
    const rows = await readOld(db, box, sealed, after);
    for (const row of rows) {
      const context = contextOf(...row.key);
      const plain = tryTo(() => box.open(row.envelope, context));
      if (plain === null) result.failed += 1;
      else if (await replace(db, sealed, row, box.seal(plain, context))) result.resealed += 1;
    }
    if (rows.length < pageSize) return result;
    after = rows.at(-1)!.key;
  }
}

/** False when the row has changed since it was read. */
async function replace(
  db: Db,
  { table, column, key }: SealedColumn,
  row: OldEnvelope,
  envelope: Buffer,
): Promise<boolean> {
  const where = key.map((name, index) => `${name} = $${index + 3}`).join(" AND ");
  const text = `UPDATE ${table} SET ${column} = $2 WHERE ${column} = $1 AND ${where}`;
  return (await run(db, text, [row.envelope, envelope, ...row.key])) === 1;
}

interface OldEnvelope {
  key: string[];
  envelope: Buffer;
}

function readOld(db: Db, box: SecretBox, { table, column, key }: SealedColumn, after: string[] | null) {
  const newest = box.headers[0]!;
  const columns = key.join(", ");
  const rest = after === null ? "" : `AND (${columns}) > (${after.map((_, index) => `$${index + 3}`).join(", ")})`;
  return all<OldEnvelope>(
    db,
    `SELECT ARRAY[${key.map((name) => `${name}::text`).join(", ")}] AS key, ${column} AS envelope FROM ${table}
      WHERE octet_length(${column}) > 0 AND substring(${column} FROM 1 FOR $2) <> $1 ${rest}
      ORDER BY ${columns} LIMIT ${pageSize}`,
    [newest, newest.length, ...(after ?? [])],
  );
}

function tryTo(open: () => string): string | null {
  try {
    return open();
  } catch {
    return null;
  }
}
