import { withDb } from "./statements.ts";

export interface WalFigures {
  /** Written since the database was created. */
  bytes: number;
  checkpoints: number;
}

export function readWal(databaseUrl: string): Promise<WalFigures> {
  return withDb(databaseUrl, async (db) => {
    const { rows } = await db.query<WalFigures>(
      `SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::float8 AS bytes,
         (SELECT num_timed + num_requested FROM pg_stat_checkpointer)::int AS checkpoints`,
    );
    return rows[0]!;
  });
}
