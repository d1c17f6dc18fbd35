import assert from "node:assert/strict";
import { test } from "node:test";
import { lookUps } from "../databases.ts";
import { newId } from "../lib/ids.ts";
import { openPool, withSettings } from "../lib/postgres.ts";
import { run } from "../lib/query.ts";
import { type Pipeline, startPipeline } from "../testing/test-pipeline.ts";
import { makePastPartitions, watchPartitions } from "../testing/watch-partitions.ts";
import { markRead } from "./mark-read.ts";
import { byPart, mergeReceipts } from "./receipts/merge-receipts.ts";
import { loadMessages } from "./routing/load-routing.ts";
import { type FinishedAttempt, finishAttempts } from "./sending/finish-attempts.ts";
import { startAttempts } from "./sending/start-attempts.ts";

/** However long messages are kept, a message costs the same. */
test("the statements of a message's path read its own partitions and no others", async () => {
  await using line = await startPipeline({ delivers: false });
  await makePastPartitions(line.admin);
  const month = new Date().toISOString().slice(0, 7).replace("-", "");
  const [messages, deliveries] = [`messages_from_${month}01`, `deliveries_from_${month}01`];
  const chat = await line.addConversation(await line.addPerson("ana"));
  const quoted = await line.say(chat, "first");
  const { messageId } = await line.say(chat, "second", { reply_to: quoted.messageId });
  await line.routed();
  const { delivery_id: deliveryId } = await line.deliveryOf(messageId);
  const fence = await holdPartitions(line);
  await using watched = watchPartitions(line.url, ["role=chat4all_pipeline", ...lookUps]);
  const { db } = watched;
  const now = new Date();

  const record = { workspaceId: line.workspaceId, messageId };
  assert.equal((await loadMessages(db, [record])).length, 1);
  assert.deepEqual(watched.partitionsRead(), [messages], "loadMessages");
  const [started] = await startAttempts(db, fence, [deliveryId], now, 4_096);
  assert.equal(started!.kind, "started");
  assert.deepEqual(watched.partitionsRead(), [deliveries, messages], "startAttempts");
  const finished: FinishedAttempt = {
    ...{ workspaceId: line.workspaceId, deliveryId, channelAccountId: line.accountId, messageId, attempt: 1 },
    ...{ startedAt: now, finishedAt: now, outcome: "sent", exchanges: [], sentParts: ["p"], partCount: 1 },
    ...{ error: null, isFinal: true, retryAfterMs: null },
  };
  await finishAttempts(db, [finished], newId(Date.now()));
  assert.deepEqual(watched.partitionsRead(), [deliveries], "finishAttempts");
  const receipt = {
    channelAccountId: line.accountId,
    providerMessageId: "p",
    deliveryId,
    status: "read",
    at: now,
  } as const;
  await mergeReceipts(db, byPart([{ ...receipt, error: null, webhookId: newId(Date.now()) }]), now);
  assert.deepEqual(watched.partitionsRead(), [deliveries], "mergeReceipts");
  assert.equal((await line.deliveryOf(messageId)).status, "read");

  await markRead(db, { conversationId: chat, participantId: newId(Date.now()), fromSeq: 1, toSeq: 2, now });
  const read = watched.partitionsRead().filter((name) => name.startsWith("deliveries"));
  assert.deepEqual(read, [deliveries], "markRead");
});

/**
 * An UPDATE that waits for another transaction looks at the changed row again. On PostgreSQL 18 it skips the row when the
 * statement excludes partitions by its parameters: the receipt is lost.
 */
test("responses and receipts of the same deliveries at the same time are all applied, with several partitions", async () => {
  await using line = await startPipeline({ delivers: false });
  await makePastPartitions(line.admin);
  const chat = await line.addConversation(await line.addPerson("ana"));
  const fence = await holdPartitions(line);
  await using stack = new AsyncDisposableStack();
  const url = withSettings(line.url, ["role=chat4all_pipeline", ...lookUps]);
  const log = { info() {}, warn() {}, error() {} };
  const db = stack.adopt(openPool({ url, size: 6, applicationName: "test", log }), (pool) => pool.end());
  // The plan that skipped rows was chosen for tables of this size.
  await line.admin.query("ALTER TABLE deliveries DISABLE TRIGGER USER");
  await line.admin.query(
    `INSERT INTO deliveries (delivery_id, workspace_id, message_id, conversation_id, seq, recipient_id, channel,
       channel_account_id, status, is_pending, route, created_at)
     SELECT first_id_at(now() - number * interval '1 ms'), $1, gen_random_uuid(), $2, number, $1, 'phone', $3, 'read', false, 'only', now()
     FROM generate_series(1, 5000) AS number`,
    [line.workspaceId, chat, line.accountId],
  );
  await line.admin.query("ALTER TABLE deliveries ENABLE TRIGGER USER");
  await line.admin.query("VACUUM (ANALYZE) deliveries");
  for (let round = 0; round < 5; round += 1) {
    const said = await Promise.all(Array.from({ length: 60 }, (_, number) => line.say(chat, `${round} ${number}`)));
    await line.routed();
    const messageIds = said.map(({ messageId }) => messageId);
    const { rows } = await line.admin.query<{ delivery_id: string; message_id: string }>(
      "SELECT delivery_id, message_id FROM deliveries WHERE message_id = ANY ($1)",
      [messageIds],
    );
    const now = new Date();
    await startAttempts(
      db,
      fence,
      rows.map((row) => row.delivery_id),
      now,
      4_096,
    );
    const inChunks = (size: number) =>
      Array.from({ length: Math.ceil(rows.length / size) }, (_, chunk) => rows.slice(chunk * size, (chunk + 1) * size));
    const finish = (some: typeof rows) =>
      finishAttempts(
        db,
        some.map(({ delivery_id: deliveryId, message_id: messageId }) => ({
          ...{ workspaceId: line.workspaceId, deliveryId, channelAccountId: line.accountId, messageId, attempt: 1 },
          ...{
            startedAt: now,
            finishedAt: now,
            outcome: "sent",
            exchanges: [],
            sentParts: [`p${deliveryId}`],
            partCount: 1,
          },
          ...{ error: null, isFinal: true, retryAfterMs: null },
        })),
        newId(Date.now()),
      );
    const merge = (some: typeof rows, ...statuses: ("sent" | "delivered" | "read")[]) => {
      const receipts = some.flatMap(({ delivery_id: deliveryId }) =>
        statuses.map((status) => ({
          ...{ channelAccountId: line.accountId, providerMessageId: `p${deliveryId}`, deliveryId, status },
          ...{ error: null, at: now, webhookId: newId(Date.now()) },
        })),
      );
      return mergeReceipts(db, byPart(receipts), now);
    };
    await Promise.all([
      ...inChunks(20).map(finish),
      ...inChunks(12).map((some) => merge(some, "sent", "delivered")),
      ...inChunks(15).map((some) => merge(some, "delivered", "read")),
    ]);
    const counts = await line.admin.query(
      "SELECT status, count(*) AS count FROM deliveries WHERE message_id = ANY ($1) GROUP BY status",
      [messageIds],
    );
    assert.deepEqual(counts.rows, [{ status: "read", count: 60 }]);
  }
});

/** All partitions of the bus, so that attempts may be started. */
async function holdPartitions(line: Pipeline) {
  const fence = { topic: "test", group: "test", ownerId: newId(Date.now()) };
  await run(
    line.admin,
    `INSERT INTO bus_cursors (topic, consumer_group, partition, owner, lease_expires_at)
     SELECT $1, $2, number, $3, now() + interval '1 hour' FROM generate_series(0, 3) AS number`,
    [fence.topic, fence.group, fence.ownerId],
  );
  return fence;
}
