import type { Pool } from "../../../server/src/lib/postgres.ts";
import { all, one, run } from "../../../server/src/lib/query.ts";
import { moved } from "../movement.ts";
import { withDb } from "../watch/statements.ts";

/** The tables that grow with messages, as far as the schema has them. */
const tables = ["messages", "deliveries", "attempts", "attempt_batches", "provider_messages", "webhooks", "events"];
/** Ids of what does not grow with messages. */
const keptIds = new Set([
  ...["workspace_id", "conversation_id", "sender_id", "recipient_id", "participant_id"],
  ...["channel_account_id", "lane_id"],
]);
/** Copies that one statement makes. */
const atOnce = 10;
/** The time over which the copies are spread. */
const spreadMs = 90 * 86_400_000;

/**
 * Multiplies what the hub wrote: its own rows, with other ids, places and times, so that they are what the hub writes
 * with the schema of today. Every conversation must have the same number of messages. Returns the messages that it added.
 */
export async function fillDatabase(
  databaseUrl: string,
  wanted: number,
  progress: (line: string) => void,
): Promise<number> {
  return withDb(databaseUrl, async (db) => {
    const { messages, perConversation } = await one<{ messages: number; perConversation: number }>(
      db,
      `SELECT count(*)::int AS messages, max(seq)::int AS "perConversation" FROM messages`,
    );
    const copies = Math.max(0, Math.round(wanted / messages) - 1);
    const strides = { seq: perConversation, position: await lastPosition(db) };
    const stepMs = Math.round(spreadMs / Math.max(1, copies));
    await db.query(shiftId);
    await db.query(pastPartitions);
    // No triggers and no foreign keys, on the one connection of this pool.
    await db.query("SET session_replication_role = replica");
    await db.query("SET synchronous_commit = off");
    const inserts: string[] = [];
    for (const table of tables) {
      const columns = await columnsOf(db, table);
      if (columns.length > 0) inserts.push(await prepareCopies(db, table, columns));
    }
    const startedAt = performance.now();
    for (let first = 1; first <= copies; first += atOnce) {
      const last = Math.min(copies, first + atOnce - 1);
      for (const insert of inserts) {
        await db.query(insert, [first, last, strides.seq, strides.position, copies, stepMs]);
        moved(`${last * messages} messages are copied`);
      }
      if ((first - 1) % (10 * atOnce) === 0) {
        progress(`${(last + 1) * messages} messages after ${((performance.now() - startedAt) / 1_000).toFixed(0)} s`);
      }
    }
    for (const table of tables) await db.query(`DROP TABLE IF EXISTS bench_${table}`);
    await run(db, "UPDATE conversations SET last_seq = last_seq * $1 WHERE last_seq > 0", [copies + 1]);
    await run(db, "UPDATE event_heads SET last_position = $1", [await lastPosition(db)]);
    for (const table of tables) {
      await db.query(`VACUUM (ANALYZE) ${table}`);
      moved(`${table} is vacuumed`);
    }
    await db.query("CHECKPOINT");
    return copies * messages;
  });
}

interface Column {
  name: string;
  type: string;
}

function columnsOf(db: Pool, table: string): Promise<Column[]> {
  return all<Column>(
    db,
    `SELECT column_name AS name, udt_name AS type FROM information_schema.columns
     WHERE table_schema = current_schema() AND table_name = $1 AND is_generated = 'NEVER' ORDER BY ordinal_position`,
    [table],
  );
}

async function lastPosition(db: Pool): Promise<number> {
  const row = await one<{ position: number }>(
    db,
    "SELECT coalesce(max(last_position), 0)::int AS position FROM events",
  );
  return row.position;
}

/** Keeps the hub's rows aside; returns the statement that copies them. */
async function prepareCopies(db: Pool, table: string, columns: readonly Column[]): Promise<string> {
  await db.query(`CREATE TABLE bench_${table} AS SELECT * FROM ${table}`);
  const names = columns.map(({ name }) => name).join(", ");
  return `
    INSERT INTO ${table} (${names}) OVERRIDING SYSTEM VALUE
    SELECT ${columns.map(copyOf).join(", ")}
    FROM bench_${table}, generate_series($1::int, $2::int) AS copy,
      LATERAL (SELECT $3::bigint AS seq_stride, $4::bigint AS position_stride, ($5::bigint - copy + 1) * $6::bigint AS ago_ms) s`;
}

function copyOf({ name, type }: Column): string {
  if (name === "seq") return "seq + copy * seq_stride";
  if (name === "last_position") return "last_position + copy * position_stride";
  if (name === "provider_message_id") return "provider_message_id || '.' || copy";
  if (name === "provider_message_ids") {
    return "ARRAY(SELECT part || '.' || copy FROM unnest(provider_message_ids) AS part)";
  }
  if (type === "timestamptz") return `${name} - ago_ms * interval '1 ms'`;
  if (type === "uuid" && !keptIds.has(name)) return `bench_shift_id(${name}, ago_ms, copy)`;
  return name;
}

/** The id of a copy: its time is earlier, and its last digits differ. Ids that refer to one another do so afterwards. */
const shiftId = `
  CREATE OR REPLACE FUNCTION bench_shift_id(p_id uuid, p_ago_ms bigint, p_copy integer) RETURNS uuid
  LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT (lpad(to_hex(('x' || substr(hex, 1, 12))::bit(48)::bigint - p_ago_ms), 12, '0') || substr(hex, 13, 8)
      || lpad(to_hex(('x' || substr(hex, 21, 12))::bit(48)::bigint # p_copy), 12, '0'))::uuid
    FROM replace(p_id::text, '-', '') AS hex
  $$`;

/** The partitions that a hub would have made in that time, each as long as its first one. */
const pastPartitions = `
  DO $$
  DECLARE
    made record;
  BEGIN
    FOR made IN
      SELECT t.table_name, t.table_name || '_past_' || number AS name, first.at - number * first.length AS from_at,
        first.at - (number - 1) * first.length AS until_at
      FROM partitioned_tables t, LATERAL (
        SELECT time_of_id(from_id) AS at, time_of_id(until_id) - time_of_id(from_id) AS length
        FROM partitions_by_time(t.table_name) LIMIT 1
      ) first, generate_series(1, ceil(${spreadMs / 1_000} / extract(epoch FROM first.length))::integer) AS number
    LOOP
      EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL EXCLUDING IDENTITY)', made.name, made.table_name || '_others');
      CALL protect_partition(made.name::regclass, (made.table_name || '_others')::regclass);
      EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', made.table_name, made.name,
        first_id_at(made.from_at), first_id_at(made.until_at));
    END LOOP;
  END
  $$`;
