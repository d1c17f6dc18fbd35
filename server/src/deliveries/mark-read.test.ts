import assert from "node:assert/strict";
import { test } from "node:test";
import { readConversation } from "../conversations/conversations.ts";
import { all, one, run } from "../lib/query.ts";
import { addUser } from "../testing/test-people.ts";
import { startPipeline } from "../testing/test-pipeline.ts";
import { markRead } from "./mark-read.ts";

test("reading in the app marks the member's earlier app deliveries as read, once", async () => {
  await using line = await startPipeline();
  const eva = (await addUser(line.pool, line.workspaceId, "Eva")).participantId;
  const rui = (await addUser(line.pool, line.workspaceId, "Rui")).participantId;
  const ana = await line.addPerson("ana");
  const chat = await line.addConversation(eva, rui, ana);
  for (const text of ["1", "2", "3"]) await line.say(chat, text);
  await line.settled();
  const now = new Date(1_800_000_000_000);
  const range = { conversationId: chat, participantId: eva, fromSeq: 1, toSeq: 2, now };
  await markRead(line.pool, range);
  await markRead(line.pool, { ...range, now: new Date(1_900_000_000_000) });
  // Messages on a channel are read there, and not in the app.
  await markRead(line.pool, { ...range, participantId: ana });

  const rows = await all<{ who: string; seq: number; status: string; read_at: Date | null; changes: number }>(
    line.pool,
    `SELECT recipient_id AS who, seq, status, read_at, jsonb_array_length(delivery_history(deliveries)) AS changes FROM deliveries
     WHERE recipient_id = ANY ($1) ORDER BY seq`,
    [[eva, rui]],
  );
  const of = (who: string) => rows.filter((row) => row.who === who);
  assert.deepEqual(
    of(eva).map((row) => row.status),
    ["read", "read", "in_transit"],
  );
  assert.deepEqual(
    of(rui).map((row) => row.status),
    ["in_transit", "in_transit", "in_transit"],
  );
  assert.deepEqual(of(eva)[0]!.read_at, now);
  assert.equal(of(eva)[0]!.changes, 2);
  const channel = await all<{ status: string }>(
    line.pool,
    "SELECT DISTINCT status FROM deliveries WHERE channel = 'phone'",
  );
  assert.deepEqual(
    channel.map((row) => row.status),
    ["sent"],
  );
});

// They were one row of the feed, which each page of events, each socket and each endpoint read as a whole.
test("reading very many messages at once writes their events in parts", async () => {
  await using line = await startPipeline({ delivers: false });
  const eva = (await addUser(line.pool, line.workspaceId, "Eva")).participantId;
  const chat = await line.addConversation(eva, await line.addPerson("ana"));
  const count = 2_500;
  await line.admin.query("ALTER TABLE deliveries DISABLE TRIGGER USER");
  await run(
    line.admin,
    `WITH ids AS MATERIALIZED (SELECT gen_random_uuid() AS id, number FROM generate_series(1, $3) AS number), m AS (
       INSERT INTO messages (message_id, workspace_id, conversation_id, seq, sender_id, direction, payload, created_at)
       SELECT id, $1, $2, number, $1, 'outbound', '{"type": "text", "text": "oi"}', now() FROM ids
     ), d AS (
       INSERT INTO deliveries (delivery_id, workspace_id, message_id, conversation_id, seq, recipient_id, channel, status,
         is_pending, route, created_at)
       SELECT (left(first_id_at(now())::text, 24) || lpad(to_hex(number), 12, '0'))::uuid, $1, id, $2, number, $4, 'app', 'in_transit', false, 'only', now() FROM ids
     )
     UPDATE conversations SET last_seq = $3, routed_seq = $3 WHERE conversation_id = $2`,
    [line.workspaceId, chat, count, eva],
  );
  await line.admin.query("ALTER TABLE deliveries ENABLE TRIGGER USER");
  const db = line.databases.dbOf(line.workspaceId);
  const principal = { ...line.principal, participantId: eva };
  await readConversation({ db, clock: line.deps.clock, saveMarks: markRead }, principal, chat, count);

  const unread = await one<{ count: number }>(
    line.pool,
    "SELECT count(*) FROM deliveries WHERE recipient_id = $1 AND status <> 'read'",
    [eva],
  );
  assert.equal(unread.count, 0);
  const events = await one<{ sum: number; most: number }>(
    line.pool,
    `SELECT sum(event_count)::int AS sum, max(event_count) AS most FROM events WHERE events LIKE '%"read"%'`,
  );
  assert.equal(events.sum, count);
  assert.ok(events.most <= 1_000, `${events.most} events in one row`);
});
