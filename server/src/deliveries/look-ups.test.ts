import assert from "node:assert/strict";
import { test } from "node:test";
import { one, run } from "../lib/query.ts";
import { type Pipeline, startPipeline } from "../testing/test-pipeline.ts";
import { until } from "../testing/until.ts";

const people = 3_000;
const rounds = 10;
const together = 3;
const grown = ["participants", "addresses", "conversations", "members", "lanes"];

/** A connection plans a statement once: here all plans are made for small tables, and nothing makes new ones. */
test("a message reads its own rows, however many people and conversations there are", async () => {
  await using line = await startPipeline();
  const { admin } = line;
  for (const table of grown) await admin.query(`ALTER TABLE ${table} SET (autovacuum_enabled = off)`);
  const persons = await Promise.all(Array.from({ length: together }, (_, index) => line.addPerson(`ana ${index}`)));
  const chats = await Promise.all(persons.map((person) => line.addConversation(person)));
  const sayToAll = async () => {
    const said = await Promise.all(chats.map((chat) => line.say(chat, "hello")));
    await line.settled();
    const deliveries = await Promise.all(said.map(({ messageId }) => line.deliveryOf(messageId)));
    const ids = deliveries.map((delivery) => delivery.provider_message_ids![0]!);
    await Promise.all(ids.map((id) => line.receipt(id, "read")));
  };
  const sayAll = async () => {
    for (let round = 0; round < rounds; round += 1) await sayToAll();
  };
  await sayToAll();
  await admin.query("ANALYZE");
  await sayAll();
  await addPeople(line);
  await admin.query("SELECT pg_stat_force_next_flush()");
  const before = await readRows(line);

  await sayAll();
  await endConnections(line);
  const after = await readRows(line);
  for (const table of grown) {
    const perMessage = (after[table]! - before[table]!) / (rounds * together);
    // Of thousands: old versions of its own rows count, too.
    assert.ok(perMessage < 100, `a message reads ${perMessage} rows of ${table}`);
  }
});

/**
 * While they are few, the planner reads all conversations of the workspace in the order of the table: two statements
 * that lock them in different orders wait for each other.
 */
test("conversations are locked in the order of their ids, in any plan", async () => {
  await using line = await startPipeline();
  const { admin } = line;
  await admin.query("ALTER TABLE conversations SET (autovacuum_enabled = off)");
  const persons = await Promise.all(["ana", "ben", "caio"].map((name) => line.addPerson(name)));
  const chats = await Promise.all(persons.map((person) => line.addConversation(person)));
  const [first, ...others] = chats.toSorted();
  const sayToAll = () => Promise.all(chats.map((chat) => line.say(chat, "hello")));
  await sayToAll();
  await line.settled();
  // So many versions of the rows that the table has several pages, and the first conversation behind the others.
  await admin.query(`DO $$ BEGIN
      FOR n IN 1..100 LOOP UPDATE conversations SET settings = settings; END LOOP;
      UPDATE conversations SET settings = settings WHERE conversation_id = '${first}';
    END $$`);
  await admin.query("ANALYZE conversations");
  const client = await admin.connect();
  try {
    await client.query("BEGIN");
    await client.query("SELECT FROM conversations WHERE conversation_id = $1 FOR UPDATE", [first]);
    const said = sayToAll();
    await until("a statement waits for the first conversation", async () => {
      await client.query("SELECT pg_stat_clear_snapshot()");
      const text = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
      return (await client.query(text)).rowCount === 1;
    });
    await client.query("SELECT FROM conversations WHERE conversation_id = ANY ($1) FOR UPDATE NOWAIT", [others]);
    await client.query("COMMIT");
    assert.equal(new Set((await said).map(({ createdAt }) => createdAt.getTime())).size, 1, "one commit");
  } finally {
    client.release(true);
  }
});

async function addPeople({ admin, workspaceId }: Pipeline): Promise<void> {
  const ids = "SELECT first_id_at(now() - n * interval '1 s') AS id, n FROM generate_series(1, $2) AS n";
  await run(
    admin,
    `WITH ids AS MATERIALIZED (${ids}), p AS (
       INSERT INTO participants (participant_id, workspace_id, kind, display_name, created_at)
       SELECT id, $1, 'contact', 'person', now() FROM ids
     ), a AS (
       INSERT INTO addresses (workspace_id, channel, identifier, participant_id, created_at)
       SELECT $1, 'phone', 'person ' || n, id, now() FROM ids
     ), c AS (
       INSERT INTO conversations (conversation_id, workspace_id, type, created_at) SELECT id, $1, 'private', now() FROM ids
     )
     INSERT INTO members (conversation_id, participant_id, joined_at) SELECT id, unnest(ARRAY[id, $1]), now() FROM ids`,
    [workspaceId, people],
  );
}

/** Rows of each table that scans and look-ups have read, as far as the connections have counted them. */
async function readRows({ admin }: Pipeline): Promise<Record<string, number>> {
  const { rows } = await one<{ rows: Record<string, number> }>(
    admin,
    `SELECT json_object_agg(t.relname, t.seq_tup_read + i.rows) AS rows FROM pg_stat_user_tables t, LATERAL (
       SELECT sum(idx_tup_read + idx_scan) AS rows FROM pg_stat_user_indexes WHERE relid = t.relid) i`,
  );
  return rows;
}

/** A connection counts what it has read when it ends, or is idle for a while. */
async function endConnections({ admin, url }: Pipeline): Promise<void> {
  const text = `SELECT count(pg_terminate_backend(pid)) AS count FROM pg_stat_activity
    WHERE datname = $1 AND pid <> pg_backend_pid() AND application_name IN ('chat4all pipeline', 'chat4all accept')`;
  const name = new URL(url).pathname.slice(1);
  await until(
    "the connections have ended",
    async () => (await one<{ count: number }>(admin, text, [name])).count === 0,
  );
}
