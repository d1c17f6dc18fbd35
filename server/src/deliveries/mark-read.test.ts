import assert from "node:assert/strict";
import { test } from "node:test";
import { all } from "../lib/query.ts";
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
