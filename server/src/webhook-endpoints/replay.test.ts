import assert from "node:assert/strict";
import { test } from "node:test";
import { maxReplayedBytes } from "../../../contract/src/webhook-endpoints.ts";
import { maxPageBytes } from "../lib/page-bytes.ts";
import { startWebhookTest } from "../testing/test-webhooks.ts";
import { replayRange } from "./webhook-endpoints.ts";

// Once one request wrote the bodies of 5,000 events, however long: hundreds of megabytes.
test("one call replays a bounded number of bytes, and the next one continues", async () => {
  await using hub = await startWebhookTest();
  const { webhook_endpoint_id: id } = await hub.connect("https://example.com/", { events: ["message.accepted"] });
  const chat = await hub.chat();
  const text = "é".repeat(60_000);
  const count = Math.ceil(maxReplayedBytes / Buffer.byteLength(text));
  for (let sent = 0; sent < count; sent += 10) {
    await Promise.all(Array.from({ length: Math.min(10, count - sent) }, () => hub.line.say(chat, text)));
  }
  const to = new Date(Date.now() + 60_000);
  const written: number[] = [];
  for (let from: Date | null = new Date(0); from !== null; ) {
    const before: Date = from;
    ({ nextFrom: from } = await replayRange(hub.deps, hub.db, {}, hub.key(id), { from, to }));
    assert.ok(from === null || from > before, "it continues later");
    const [sum] = await hub.rows<{ bytes: number }>(
      "SELECT sum(octet_length(body))::float8 AS bytes FROM webhook_deliveries",
    );
    written.push(sum!.bytes);
  }
  assert.ok(written.length > 1, "one call did not replay everything");
  assert.ok(written[0]! < maxReplayedBytes + 3 * maxPageBytes, `${written[0]} bytes`);
  assert.equal((await hub.deliveries()).length, count);
});
