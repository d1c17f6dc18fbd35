import { openPool, type Pool } from "../../../server/src/lib/postgres.ts";

export interface StatementTime {
  calls: number;
  totalMs: number;
  rows: number;
  walBytes: number;
  /** Pages read or written in memory, per call. */
  pages: number;
  query: string;
}

const quiet = { info() {}, warn() {}, error() {} };

export async function countStatementsFromNextStart(databaseUrl: string): Promise<void> {
  await withDb(databaseUrl, async (db) => {
    await db.query("ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements'");
    await db.query("ALTER SYSTEM SET pg_stat_statements.track = 'all'");
    await db.query("ALTER SYSTEM SET track_io_timing = 'on'");
    await db.query("CREATE EXTENSION IF NOT EXISTS pg_stat_statements");
  });
}

export async function resetStatements(databaseUrl: string): Promise<void> {
  await withDb(databaseUrl, (db) => db.query("SELECT pg_stat_statements_reset()"));
}

/** The most expensive statements first. A statement inside a function is listed besides the one that called it. */
export async function readStatements(databaseUrl: string, limit: number): Promise<StatementTime[]> {
  return withDb(databaseUrl, async (db) => {
    const { rows } = await db.query(
      `SELECT calls, total_exec_time AS "totalMs", rows, wal_bytes::float8 AS "walBytes",
         (shared_blks_hit + shared_blks_read) / greatest(calls, 1) AS pages,
         CASE WHEN toplevel THEN '' ELSE '(inner) ' END || query AS query
       FROM pg_stat_statements ORDER BY total_exec_time DESC LIMIT $1`,
      [limit],
    );
    return rows as StatementTime[];
  });
}

/** How many statements of clients ran since the last reset, those of the bench left out. */
export async function countStatements(databaseUrl: string): Promise<number> {
  return withDb(databaseUrl, async (db) => {
    const { rows } = await db.query(
      "SELECT coalesce(sum(calls), 0)::float8 AS calls FROM pg_stat_statements WHERE toplevel AND query NOT LIKE '%pg_stat_statements%'",
    );
    return rows[0].calls as number;
  });
}

export async function runStatement(databaseUrl: string, text: string, values: unknown[]): Promise<void> {
  await withDb(databaseUrl, (db) => db.query(text, values));
}

/** A statement takes as long as it needs: the database is busy. */
export async function withDb<Result>(databaseUrl: string, work: (db: Pool) => Promise<Result>): Promise<Result> {
  const db = openPool({ url: databaseUrl, size: 1, applicationName: "bench watch", log: quiet, statementTimeoutMs: 0 });
  try {
    return await work(db);
  } finally {
    await db.end();
  }
}
