import { type Pool, transaction } from "../lib/postgres.ts";
import { type Db, maybe, one } from "../lib/query.ts";

/** New records of a full segment go to the next one. */
export const segmentBytes = 8 * 1024 * 1024;
const segmentCount = 3;
const advisoryKey = "hashtext('chat4all bus segments')";

/**
 * Empties the full segment before the active one once every group has consumed it, and activates the next empty one
 * when the active is full. Any process may call it at any time; one does the work.
 */
export async function rotateSegments(pool: Pool): Promise<void> {
  // Large batches are stored beside their rows (TOAST): the pages of a table only say whether it has rows.
  const { active, activeBytes, pages } = await one<{ active: number; activeBytes: number; pages: number[] }>(
    pool,
    `SELECT active, pg_table_size('bus_records_' || active) AS "activeBytes", ARRAY[pg_relation_size('bus_records_0'),
       pg_relation_size('bus_records_1'), pg_relation_size('bus_records_2')] AS pages FROM bus_segments`,
  );
  for (let step = 1; step < segmentCount; step += 1) {
    const segment = (active + step) % segmentCount;
    if (pages[segment]! > 0) await truncateIfConsumed(pool, segment);
  }
  if (activeBytes < segmentBytes) return;
  const next = (active + 1) % segmentCount;
  if (await isEmpty(pool, next)) {
    await pool.query("UPDATE bus_segments SET active = $2 WHERE active = $1", [active, next]);
  }
}

async function truncateIfConsumed(pool: Pool, segment: number): Promise<void> {
  if (!(await isConsumed(pool, segment))) return;
  await transaction(pool, async (tx) => {
    const { got } = await one<{ got: boolean }>(tx, `SELECT pg_try_advisory_xact_lock(${advisoryKey}) AS got`);
    if (!got) return;
    // Waits briefly for publishers that still write here: others queue behind this lock.
    await tx.query("SET LOCAL lock_timeout = '100ms'");
    await tx.query(`LOCK TABLE bus_records_${segment} IN ACCESS EXCLUSIVE MODE`);
    if (await isConsumed(tx, segment)) await tx.query(`TRUNCATE bus_records_${segment}`);
  }).catch((error) => {
    if ((error as { code?: string }).code !== "55P03") throw error;
  });
}

async function isEmpty(db: Db, segment: number): Promise<boolean> {
  return (await maybe(db, `SELECT 1 FROM bus_records_${segment} LIMIT 1`)) === null;
}

/** A topic without any consumer so far keeps its records. */
async function isConsumed(db: Db, segment: number): Promise<boolean> {
  const unread = await maybe(
    db,
    `SELECT 1 FROM (
       SELECT topic, partition, max(last_offset) AS last_offset FROM bus_records_${segment} GROUP BY topic, partition
     ) r
     LEFT JOIN (
       SELECT topic, partition, min(consumed_offset) AS consumed_offset FROM bus_cursors GROUP BY topic, partition
     ) c USING (topic, partition)
     WHERE r.last_offset > coalesce(c.consumed_offset, 0) LIMIT 1`,
  );
  return unread === null;
}
