/**
 * A consumer reads on one connection while it renews its leases on another. So every statement that changes several
 * cursors locks them in the order of their partitions first: with locks in two orders they would deadlock.
 */
import { isDurable } from "../lib/early-commit.ts";
import type { Pool } from "../lib/postgres.ts";
import { all, plainArray, run } from "../lib/query.ts";

export interface Ownership {
  epoch: number;
  /** Handled; the cursor in the database follows with the next read. */
  consumed: number;
  committed: number;
  isReady: boolean;
  /** While its next record fails for a temporary reason. */
  stall: { failures: number; until: number } | null;
}

const rowsPerPartition = 32;

export interface RenewedRow {
  partition: number;
  epoch: number;
  consumed_offset: number;
  consumers: number;
}

export async function renew(
  pool: Pool,
  topic: string,
  group: string,
  ownerId: string,
  leaseMs: number,
): Promise<RenewedRow[]> {
  const values = [topic, group, ownerId, leaseMs / 1000];
  await run(pool, shortenOthers, values);
  return all(pool, "SELECT * FROM bus_renew($1, $2, $3, make_interval(secs => $4))", values);
}

/**
 * No lease of another owner ends later than one that begins now, else the database's clock was set back, and the lease of
 * an owner that is gone would last as much longer. One that lives renews it in time.
 */
const shortenOthers = `
WITH consumers AS (
  UPDATE bus_consumers SET expires_at = now() + make_interval(secs => $4)
  WHERE topic = $1 AND consumer_group = $2 AND owner <> $3 AND expires_at > now() + make_interval(secs => $4)
  RETURNING owner
), locked AS MATERIALIZED (
  SELECT partition FROM bus_cursors
  WHERE topic = $1 AND consumer_group = $2 AND owner <> $3 AND lease_expires_at > now() + make_interval(secs => $4)
    AND (SELECT count(*) FROM consumers) >= 0
  ORDER BY partition FOR UPDATE
)
UPDATE bus_cursors c SET lease_expires_at = now() + make_interval(secs => $4)
FROM locked WHERE c.topic = $1 AND c.consumer_group = $2 AND c.partition = locked.partition`;

export async function createCursors(pool: Pool, topic: string, group: string): Promise<void> {
  await run(
    pool,
    `INSERT INTO bus_cursors (topic, consumer_group, partition)
     SELECT topic, $2, partition FROM bus_heads WHERE topic = $1 ON CONFLICT DO NOTHING`,
    [topic, group],
  );
}

interface BatchRow {
  partition: number;
  last_offset: number;
  record_count: number;
  records: string;
}

/** Moves the cursors and reads whole rows of about `maxRecords` records, from the partitions in turn, oldest first. */
export async function advanceAndRead(
  pool: Pool,
  topic: string,
  group: string,
  ownerId: string,
  owned: readonly (readonly [number, Ownership])[],
  positions: readonly number[],
  maxRecords: number,
): Promise<BatchRow[]> {
  const { rows } = await pool.query<BatchRow>({
    name: "bus_advance_and_read",
    text: `
      WITH at AS MATERIALIZED (
        SELECT * FROM unnest($4::int[], $5::bigint[], $6::bigint[]) WITH ORDINALITY AS t (partition, epoch, consumed, turn)
      ), locked AS MATERIALIZED (
        SELECT c.partition, at.consumed FROM bus_cursors c JOIN at ON at.partition = c.partition AND at.epoch = c.epoch
        WHERE c.topic = $1 AND c.consumer_group = $2 AND c.owner = $3 AND c.consumed_offset < at.consumed
        ORDER BY c.partition FOR UPDATE OF c
      ), moved AS (
        UPDATE bus_cursors c SET consumed_offset = locked.consumed
        FROM locked WHERE c.topic = $1 AND c.consumer_group = $2 AND c.partition = locked.partition
      ), found AS (
        SELECT r.*, sum(r.record_count) OVER (ORDER BY r.place, at.turn) - r.record_count AS before
        FROM at CROSS JOIN LATERAL (
          SELECT at.partition, b.last_offset, b.record_count, b.records, row_number() OVER (ORDER BY b.last_offset) AS place
          FROM bus_records b
          WHERE b.topic = $1 AND b.partition = at.partition AND b.last_offset > at.consumed
          ORDER BY b.last_offset LIMIT $8
        ) r
      )
      SELECT partition, last_offset, record_count, records, ${isDurable} FROM found WHERE before < $7 ORDER BY partition, last_offset`,
    values: [
      topic,
      group,
      ownerId,
      plainArray(owned.map(([partition]) => partition)),
      plainArray(owned.map(([, ours]) => ours.epoch)),
      plainArray(positions),
      maxRecords,
      rowsPerPartition,
    ],
  });
  return rows;
}

export interface PositionRow {
  partition: number;
  last_offset: number;
  consumed_offset: number;
  owner: string | null;
}

export function readPositions(pool: Pool, topic: string, group: string): Promise<PositionRow[]> {
  return all(
    pool,
    `SELECT h.partition, h.next_offset - 1 AS last_offset, coalesce(c.consumed_offset, 0) AS consumed_offset,
       CASE WHEN c.lease_expires_at > now() THEN c.owner END AS owner
     FROM bus_heads h
     LEFT JOIN bus_cursors c ON c.topic = h.topic AND c.partition = h.partition AND c.consumer_group = $2
     WHERE h.topic = $1 ORDER BY h.partition`,
    [topic, group],
  );
}

/** Waits for the transactions in which the owner before may still start attempts: see `write_deliveries` in migration 0035. */
export async function passFence(pool: Pool, topic: string, partitions: readonly number[]): Promise<void> {
  await run(pool, "SELECT bus_pass_fence($1, $2)", [topic, partitions]);
}

export async function giveBack(pool: Pool, topic: string, group: string, ownerId: string): Promise<void> {
  await run(
    pool,
    `WITH locked AS MATERIALIZED (
       SELECT partition FROM bus_cursors WHERE topic = $1 AND consumer_group = $2 AND owner = $3
       ORDER BY partition FOR UPDATE
     )
     UPDATE bus_cursors c SET owner = NULL, lease_expires_at = NULL
     FROM locked WHERE c.topic = $1 AND c.consumer_group = $2 AND c.partition = locked.partition`,
    [topic, group, ownerId],
  );
  await run(pool, "DELETE FROM bus_consumers WHERE topic = $1 AND consumer_group = $2 AND owner = $3", [
    topic,
    group,
    ownerId,
  ]);
}
