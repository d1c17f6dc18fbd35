import assert from "node:assert/strict";
import { test } from "node:test";
import { all, run } from "../lib/query.ts";
import { startReceiver, startWebhookTest, status } from "../testing/test-webhooks.ts";
import { until } from "../testing/until.ts";
import { listAttempts } from "./attempts.ts";

test("lists attempts newest first, each once over all pages, and by status", async () => {
  await using hub = await startWebhookTest();
  await using receiver = await startReceiver((_got, response) => {
    response.writeHead(receiver.got.length % 3 === 0 ? 500 : 204).end();
  });
  const { webhook_endpoint_id: id } = await hub.connect(receiver.url, { events: ["message.accepted"] });
  const chat = await hub.chat();
  for (let index = 0; index < 24; index += 1) await hub.line.say(chat, `${index}`);
  hub.start();
  await receiver.has(24);
  const list = (page: Partial<Parameters<typeof listAttempts>[2]>) =>
    listAttempts(hub.db, hub.key(id), { limit: 100, ...page });
  await until("all attempts are written", async () => (await list({})).length >= 24);
  const whole = await list({});
  const times = whole.map((row) => Date.parse(row.started_at));
  assert.deepEqual(
    times,
    times.toSorted((a, b) => b - a),
  );
  for (const only of ["succeeded", "failed"] as const) {
    const wanted = whole.filter((row) => row.status === only).map((row) => row.attempt_id);
    const read: string[] = [];
    for (let after: { at: Date; id: string } | undefined; ; ) {
      const rows = await list({ limit: 4, after, status: only });
      for (const row of rows.slice(0, 4)) read.push(row.attempt_id);
      if (rows.length <= 4) break;
      after = { at: new Date(rows[3]!.started_at), id: rows[3]!.attempt_id };
    }
    assert.deepEqual(read, wanted);
  }
  const failed = whole.find((row) => row.status === "failed")!;
  assert.equal(failed.status_code, 500);
  assert.ok(failed.next_attempt_at !== null && failed.next_attempt_at > failed.started_at);
  assert.equal(whole.find((row) => row.status === "succeeded")!.next_attempt_at, null);
});

test("a test of an endpoint that is deleted meanwhile gets 404 and writes nothing", async () => {
  await using hub = await startWebhookTest();
  await using receiver = await startReceiver(async (_got, response) => {
    await run(hub.db, "DELETE FROM webhook_endpoints");
    response.writeHead(204).end();
  });
  const { webhook_endpoint_id: id } = await hub.connect(receiver.url);
  await assert.rejects(hub.tester.test(hub.db, hub.key(id)), { code: "RESOURCE_NOT_FOUND" });
  assert.deepEqual(await all(hub.db, "SELECT FROM webhook_deliveries"), []);
});

test("attempts are invisible to other workspaces", async () => {
  await using hub = await startWebhookTest();
  await using receiver = await startReceiver(status(500));
  const { webhook_endpoint_id: id } = await hub.connect(receiver.url, { events: ["message.accepted"] });
  hub.start();
  await hub.line.say(await hub.chat(), "oi");
  await until("an attempt is written", async () => (await listAttempts(hub.db, hub.key(id), { limit: 1 })).length > 0);
  const stranger = "0198d6a4-3d2e-7a11-8a2e-0d5a3f1e9b10";
  // Even with a wrong workspace in the key: the database does not show the rows.
  assert.deepEqual(await listAttempts(hub.line.databases.dbOf(stranger), hub.key(id), { limit: 1 }), []);
});
