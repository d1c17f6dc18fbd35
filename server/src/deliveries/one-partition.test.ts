import assert from "node:assert/strict";
import { test } from "node:test";
import { lookUps } from "../databases.ts";
import { newId } from "../lib/ids.ts";
import { run } from "../lib/query.ts";
import { startPipeline } from "../testing/test-pipeline.ts";
import { makePastPartitions, watchPartitions } from "../testing/watch-partitions.ts";
import { markRead } from "./mark-read.ts";
import { inRounds, mergeReceipts } from "./receipts/merge-receipts.ts";
import { loadRouting } from "./routing/load-routing.ts";
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
  const fence = { topic: "test", group: "test", ownerId: newId(Date.now()) };
  await run(
    line.admin,
    `INSERT INTO bus_cursors (topic, consumer_group, partition, owner, lease_expires_at)
     SELECT $1, $2, number, $3, now() + interval '1 hour' FROM generate_series(0, 3) AS number`,
    [fence.topic, fence.group, fence.ownerId],
  );
  await using watched = watchPartitions(line.url, ["role=chat4all_pipeline", ...lookUps]);
  const { db } = watched;
  const now = new Date();

  const record = { key: chat, value: { workspaceId: line.workspaceId, messageId } };
  assert.equal((await loadRouting(db, [record])).messages.length, 1);
  assert.deepEqual(watched.partitionsRead(), [messages], "loadRouting");
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
  for (const round of inRounds([{ ...receipt, error: null, webhookId: newId(Date.now()) }])) {
    await mergeReceipts(db, round, now);
  }
  assert.deepEqual(watched.partitionsRead(), [deliveries], "mergeReceipts");
  assert.equal((await line.deliveryOf(messageId)).status, "read");

  await markRead(db, { conversationId: chat, participantId: newId(Date.now()), fromSeq: 1, toSeq: 2, now });
  const read = watched.partitionsRead().filter((name) => name.startsWith("deliveries"));
  assert.deepEqual(read, [deliveries], "markRead");
});
