import assert from "node:assert/strict";
import { before, test } from "node:test";
import { closeAfterTests } from "../server/src/testing/close-after-tests.ts";
import { until } from "../server/src/testing/until.ts";
import { startTestHub, type TestHub } from "./src/harness.ts";

const opened = closeAfterTests();
let hub: TestHub;
before(async () => {
  hub = opened.use(await startTestHub());
});

test("an admin sees what the workspace has done, by channel and status", async () => {
  const ana = hub.person("whatsapp", "Ana");
  await ana.writes("bom dia");
  const payload = { type: "text" as const, text: "oi" };
  const { message_id } = await hub.client.messages.send({ to: ana.address, payload });
  await hub.status(message_id, "read");
  await hub.simulator.break({ channel: "whatsapp", fault: "permanent", count: 1 });
  const failed = await hub.client.messages.send({ to: ana.address, payload });
  await hub.status(failed.message_id, "failed");
  const { file_id } = await hub.client.files.upload(new Blob(["notes"]), { filename: "notes.txt" });
  const { task_id } = await hub.client.documents.extract(file_id);
  await until("the task ends", async () => (await hub.client.tasks.get(task_id)).finished_at);

  const stats = await hub.client.stats.get({ period: "7d" });
  assert.equal(stats.period, "7d");
  assert.deepEqual(
    stats.messages.by_channel.toSorted((a, b) => (a.direction < b.direction ? -1 : 1)),
    [
      { channel: "whatsapp", direction: "inbound", count: 1 },
      { channel: null, direction: "outbound", count: 2 },
    ],
  );
  assert.equal(stats.messages.total, 3);
  assert.ok(stats.messages.per_minute > 0);
  const {
    total,
    read,
    failed: failures,
    failed_rate,
    read_rate,
    sent,
  } = stats.deliveries.by_channel.find(({ channel }) => channel === "whatsapp")!;
  assert.deepEqual(
    { total, read, failures, failed_rate, read_rate, sent },
    {
      total: 2,
      read: 1,
      failures: 1,
      failed_rate: 0.5,
      read_rate: 0.5,
      sent: 0,
    },
  );
  assert.deepEqual(stats.files, { count: 1, bytes: 5 });
  assert.deepEqual(stats.tasks, { pending: 0, running: 0, completed: 1, failed: 0, cancelled: 0 });
  assert.deepEqual(stats.llm_tokens, { hub_key: 0, own_keys: 0 });
  assert.equal((await hub.client.stats.get()).period, "24h");
});
