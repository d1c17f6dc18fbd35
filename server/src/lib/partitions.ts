import { type Backoff, doubledMs } from "./backoff.ts";
import { type Clock, pause } from "./clock.ts";
import { type Pool, transaction } from "./postgres.ts";
import { all, type Db, maybe, one } from "./query.ts";

/** How much time a partition holds. */
export type Period = "week" | "month" | "quarter" | "year";

export interface PartitionedTable {
  name: string;
  period: Period;
}

/** SQL: whether an id that carries a time was made in these milliseconds. It lets a look-up read one partition. */
export function isIdOf(id: string, first: string, last: string = first): string {
  return `${id} BETWEEN first_id_at(${first}) AND last_id_at(${last})`;
}

/** Checking the ids that no partition holds may read many rows. */
const longestMs = 10 * 60_000;
/** Each waits for locks for at most 100 ms. */
const maxTries = 20;
const backoff: Backoff = { firstMs: 100, longestMs: 2_000 };

interface PartitionDeps {
  db: Pool;
  clock: Clock;
}

/**
 * Makes the partitions of the present period and the next one. Several processes may do it at once. Statements that write
 * meanwhile wait for at most 100 ms; ids that have no partition yet are stored in `<table>_others`.
 */
export async function makePartitions(
  { db, clock }: PartitionDeps,
  tables: readonly PartitionedTable[],
  now: Date,
): Promise<void> {
  for (const { name, period } of tables) {
    for (;;) {
      const text = "SELECT from_at, until_at FROM next_partition($1, $2, $3)";
      const next = await maybe<{ from_at: Date; until_at: Date }>(db, text, [name, period, now]);
      if (next === null) break;
      const values = [name, next.from_at, next.until_at];
      await withShortLocks({ db, clock }, "SELECT prepare_partition($1, $2, $3)", values);
      await withShortLocks({ db, clock }, "SELECT attach_partition($1, $2, $3)", values);
    }
  }
}

/** Rows deleted by one statement, which holds no lock for long. */
const deleteBatch = 5_000;

/** Until it deletes fewer than it may. */
export async function deleteInBatches(deleteSome: (most: number) => Promise<number>): Promise<void> {
  while ((await deleteSome(deleteBatch)) === deleteBatch);
}

const widestMs: Record<Period, number> = { week: 7, month: 31, quarter: 92, year: 366 };

/**
 * Drops the partitions whose time ended before `before`, and deletes what is as old from `<table>_others` and from
 * partitions of a longer period, which was changed since. Keeps partitions with rows that are needed: returns their names.
 */
export async function dropPartitions(
  { db, clock }: PartitionDeps,
  { name, period }: PartitionedTable,
  before: Date,
): Promise<string[]> {
  const needed: string[] = [];
  const partitions = await all<{ name: string; is_over: boolean; is_wide: boolean }>(
    db,
    `SELECT name, until_id <= first_id_at($2) AS is_over,
       coalesce(time_of_id(until_id) - time_of_id(from_id) > $3 * interval '1 day', true) AS is_wide
     FROM partitions_by_time($1) WHERE from_id < first_id_at($2) OR from_id IS NULL ORDER BY until_id`,
    [name, before, widestMs[period]],
  );
  for (const partition of partitions.filter(({ is_over }) => is_over)) {
    const text = "SELECT drop_partition($1, $2) AS is_dropped";
    const { is_dropped } = await withShortLocks<{ is_dropped: boolean }>({ db, clock }, text, [name, partition.name]);
    if (!is_dropped) needed.push(partition.name);
  }
  const wide = partitions.filter(({ is_over, is_wide }) => is_wide && !is_over).map((partition) => partition.name);
  for (const partition of [`${name}_others`, ...wide]) await deleteOld(db, name, partition, before);
  return needed;
}

function deleteOld(db: Db, table: string, partition: string, before: Date): Promise<void> {
  const text = "SELECT delete_old_rows($1, $2, $3, $4) AS deleted";
  return deleteInBatches(
    async (most) => (await one<{ deleted: number }>(db, text, [table, partition, before, most])).deleted,
  );
}

/** A lock that is not free soon is tried again later, so that the statements behind it wait only briefly. */
async function withShortLocks<Row>(
  { db, clock }: PartitionDeps,
  text: string,
  values: readonly unknown[],
): Promise<Row> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await transaction(db, async (tx) => {
        await tx.query(`SET LOCAL statement_timeout = ${longestMs}`);
        const { rows } = await tx.query({
          text,
          values: values as unknown[],
          query_timeout: longestMs + 5_000,
        } as never);
        return rows[0] as Row;
      });
    } catch (error) {
      if (tries === maxTries || !isLockConflict(error)) throw error;
      await pause(clock, doubledMs(backoff, tries));
    }
  }
}

/** SQLSTATEs of a lock that was not free in time, and of a deadlock. */
export function isLockConflict(error: unknown): boolean {
  return ["55P03", "40P01"].includes(String((error as { code?: string }).code));
}
