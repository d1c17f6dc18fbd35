import { newId } from "../../../server/src/lib/ids.ts";
import { openPool, type PoolClient } from "../../../server/src/lib/postgres.ts";
import { serve } from "../child.ts";
import { textOf } from "../load/requests.ts";
import { moved } from "../movement.ts";

/** `open` connects, and inserts once over each connection; `run` may follow; `close` ends the connections. */
export type InsertOrder =
  | ({ kind: "open"; databaseUrl: string } & Load)
  | ({ kind: "run"; durationMs: number; warmUpMs: number } & Load)
  | { kind: "close" };

interface Load {
  connections: number;
  /** 1: one row and one commit to a statement; more: the rows and their outbox records in one statement. */
  rows: number;
  conversationIds: readonly string[];
}

export interface InsertResult {
  /** All that were committed, the warm-up included. */
  rows: number;
  /** Committed within the measured time. */
  measured: number;
  seconds: number;
}

const quiet = { info() {}, warn() {}, error() {} };
const workspaceId = newId(Date.now());
const senderId = workspaceId;
const seqs = new Map<string, number>();
let nextMessage = 0;

const clients: PoolClient[] = [];
let pool: ReturnType<typeof openPool> | null = null;

/** PostgreSQL alone: the rows that an accepted message makes, by the hub's own driver. */
serve(async (order: InsertOrder): Promise<InsertResult | null> => {
  if (order.kind === "open") return open(order);
  if (order.kind === "run") return run(order);
  for (const client of clients.splice(0)) client.release();
  await pool?.end();
  return null;
});

async function open({ databaseUrl, ...load }: InsertOrder & { kind: "open" }): Promise<null> {
  const { connections, rows } = load;
  pool = openPool({ url: databaseUrl, size: connections, applicationName: "bench inserts", log: quiet });
  // One after the other: on a slow machine many at once would take longer than the driver waits for one.
  while (clients.length < connections) clients.push(await pool.connect());
  await makeTables(clients[0]!);
  for (const client of clients) await (rows === 1 ? insertOne : insertMany)(client, load);
  return null;
}

async function run(order: InsertOrder & { kind: "run" }): Promise<InsertResult> {
  const { durationMs, warmUpMs } = order;
  const insert = order.rows === 1 ? insertOne : insertMany;
  const startedAt = performance.now();
  const measuredFrom = startedAt + warmUpMs;
  const endsAt = measuredFrom + durationMs;
  let rows = 0;
  let measured = 0;
  const worker = async (client: PoolClient) => {
    while (performance.now() < endsAt) {
      await insert(client, order);
      const now = performance.now();
      rows += order.rows;
      moved("a commit of the inserts");
      if (now >= measuredFrom && now <= endsAt) measured += order.rows;
    }
  };
  await Promise.all(clients.map(worker));
  return { rows, measured, seconds: durationMs / 1000 };
}

let hasTables = false;

/** Beside the hub's own, of the same shape: what is written there disturbs nothing. New for each process. */
async function makeTables(db: PoolClient): Promise<void> {
  if (hasTables) return;
  await db.query("DROP TABLE IF EXISTS bench_messages, bench_records");
  await db.query("CREATE TABLE bench_messages (LIKE messages INCLUDING ALL)");
  await db.query("CREATE TABLE bench_records (LIKE bus_records INCLUDING ALL)");
  hasTables = true;
}

function nextRow(conversationIds: readonly string[]) {
  const number = nextMessage++;
  const conversationId = conversationIds[number % conversationIds.length]!;
  const seq = (seqs.get(conversationId) ?? 0) + 1;
  seqs.set(conversationId, seq);
  return {
    messageId: newId(Date.now()),
    conversationId,
    seq,
    payload: JSON.stringify({ type: "text", text: textOf(number) }),
  };
}

const columns = "message_id, workspace_id, conversation_id, seq, sender_id, direction, payload, created_at";

async function insertOne(client: PoolClient, { conversationIds }: Load): Promise<void> {
  const { messageId, conversationId, seq, payload } = nextRow(conversationIds);
  await client.query({
    name: "bench_insert_one",
    text: `INSERT INTO bench_messages (${columns}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
    values: [messageId, workspaceId, conversationId, seq, senderId, "outbound", payload, new Date()],
  });
}

async function insertMany(client: PoolClient, { conversationIds, rows: size }: Load): Promise<void> {
  const rows = Array.from({ length: size }, () => nextRow(conversationIds));
  const records = recordsOf(rows);
  await client.query({
    name: "bench_insert_many",
    text: `
      WITH written AS (
        INSERT INTO bench_messages (${columns})
        SELECT message_id, $1, conversation_id, seq, $2, $3, payload::jsonb, $4
        FROM unnest($5::uuid[], $6::uuid[], $7::bigint[], $8::text[])
          AS r (message_id, conversation_id, seq, payload)
      )
      INSERT INTO bench_records (segment, topic, partition, last_offset, record_count, records)
      SELECT 0, 'message_processing', partition, 0, record_count, records
      FROM unnest($9::int[], $10::int[], $11::text[]) AS o (partition, record_count, records)`,
    values: [
      workspaceId,
      senderId,
      "outbound",
      new Date(),
      rows.map((row) => row.messageId),
      rows.map((row) => row.conversationId),
      rows.map((row) => row.seq),
      rows.map((row) => row.payload),
      records.map((_, partition) => partition),
      records.map((lines) => lines.length),
      records.map((lines) => `[${lines.join(",")}]`),
    ],
  });
}

/** As many rows on the bus as the hub writes: one for each partition. */
function recordsOf(rows: readonly { conversationId: string; messageId: string }[]): string[][] {
  const partitions: string[][] = Array.from({ length: 16 }, () => []);
  for (const { conversationId, messageId } of rows) {
    const line = JSON.stringify([conversationId, { workspaceId, messageId }]);
    partitions[Number.parseInt(conversationId.slice(-1), 16)]!.push(line);
  }
  return partitions.filter((lines) => lines.length > 0);
}
