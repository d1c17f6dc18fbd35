import assert from "node:assert/strict";
import { test } from "node:test";
import { Webhook } from "standardwebhooks";
import { patient } from "../testing/patience.ts";
import { ok, startReceiver, startWebhookTest, status } from "../testing/test-webhooks.ts";
import { until } from "../testing/until.ts";

const minute = 60_000;
const hour = 60 * minute;
const day = 24 * hour;

test("sends each event within a second, signed, with the name and body of the feed", async () => {
  await using hub = await startWebhookTest();
  await using receiver = await startReceiver();
  const endpoint = await hub.connect(receiver.url);
  const engine = hub.start();
  await engine.poll();
  const chat = await hub.chat();
  const { messageId } = await hub.line.say(chat, "oi");
  const saidAt = Date.now();
  hub.notify();
  await receiver.has(2);
  assert.ok(receiver.got[1]!.atMs - saidAt < patient(1_000));
  await hub.line.settled();
  await receiver.has(4);
  assert.deepEqual(receiver.types().toSorted(), [
    "conversation.created",
    "message.accepted",
    "message.in_transit",
    "message.sent",
  ]);
  const accepted = receiver.got.find((got) => got.type === "message.accepted")!;
  assert.equal(accepted.data.message_id, messageId);
  assert.equal(accepted.data.content, "oi");
  assert.equal(accepted.headers["content-type"], "application/json");
  assert.match(String(accepted.headers["user-agent"]), /^Chat4All\//);
  for (const { body, headers } of receiver.got) {
    new Webhook(endpoint.secret).verify(body, headers as Record<string, string>);
  }
  const ids = new Set(receiver.got.map((got) => got.headers["webhook-id"]));
  assert.equal(ids.size, 4, "each event has an id of its own");
  await until("all deliveries succeed", async () =>
    (await hub.deliveries()).every((row) => row.status === "succeeded"),
  );
});

test("an endpoint gets only the events that it asks for, and none from before it was created", async () => {
  await using hub = await startWebhookTest();
  await using receiver = await startReceiver();
  const chat = await hub.chat();
  await hub.line.say(chat, "before");
  await hub.line.settled();
  await hub.connect(receiver.url, { events: ["message.accepted"] });
  hub.start();
  await hub.line.say(chat, "after");
  await receiver.has(1);
  await hub.line.settled();
  await until("all deliveries succeed", async () =>
    (await hub.deliveries()).every((row) => row.status === "succeeded"),
  );
  assert.deepEqual(
    receiver.got.map((got) => [got.type, got.data.content]),
    [["message.accepted", "after"]],
  );
});

test("retries a failed delivery on schedule with the same id and body, then gives it up", async () => {
  await using hub = await startWebhookTest();
  await using receiver = await startReceiver(status(500));
  await hub.connect(receiver.url, { events: ["message.accepted"] });
  const engine = hub.start();
  await hub.line.say(await hub.chat(), "oi");
  const delays = [5_000, 5 * minute, 30 * minute, 2 * hour, 5 * hour, 10 * hour, 14 * hour, 20 * hour, 24 * hour];
  for (const [index, delay] of [...delays, null].entries()) {
    await receiver.has(index + 1);
    await until("the attempt is written", async () => (await hub.deliveries())[0]!.attempts === index + 1);
    const [row] = await hub.deliveries();
    if (delay === null) {
      assert.equal(row!.status, "failed");
      continue;
    }
    assert.equal(row!.status, "pending");
    const waits = row!.next_attempt_at.getTime() - hub.deps.clock.now();
    assert.ok(Math.abs(waits - delay) < patient(3_000), `${waits} ms instead of ${delay}`);
    // Longer than a poll takes.
    const marginMs = Math.min(patient(2_000), waits / 2);
    hub.passTime(waits - marginMs);
    await engine.poll();
    assert.equal(receiver.got.length, index + 1, "not sooner");
    hub.passTime(marginMs);
    await engine.poll();
  }
  assert.equal(receiver.got.length, 10);
  assert.equal(new Set(receiver.got.map((got) => got.headers["webhook-id"])).size, 1);
  assert.equal(new Set(receiver.got.map((got) => got.body)).size, 1);
  assert.equal(new Set(receiver.got.map((got) => got.headers["webhook-timestamp"])).size, 10);
});

test("retry-after delays an attempt, in seconds or as a date, never before the schedule nor beyond a day", async () => {
  await using hub = await startWebhookTest();
  await using receiver = await startReceiver(status(429, { "retry-after": "120" }));
  await hub.connect(receiver.url, { events: ["message.accepted"] });
  const engine = hub.start();
  const cases: [retryAfter: () => string, waits: number][] = [
    [() => "120", 2 * minute],
    [() => "1", 5 * minute],
    [() => new Date(hub.deps.clock.now() + 3 * hour).toUTCString(), 3 * hour],
    [() => new Date(hub.deps.clock.now() - hour).toUTCString(), 2 * hour],
    [() => "soon", 5 * hour],
    [() => "9999999", day],
  ];
  receiver.answer = (_got, response, attempt) => {
    response.writeHead(503, { "retry-after": cases[attempt - 1]![0]() }).end();
  };
  await hub.line.say(await hub.chat(), "oi");
  for (const [index, [, expected]] of cases.entries()) {
    await until("the attempt is written", async () => (await hub.deliveries())[0]?.attempts === index + 1);
    const waits = (await hub.deliveries())[0]!.next_attempt_at.getTime() - hub.deps.clock.now();
    assert.ok(Math.abs(waits - expected) < patient(4_000), `case ${index}: ${waits} ms instead of ${expected}`);
    hub.passTime(waits + 1);
    await engine.poll();
  }
});

test("429 and 503 with retry-after pause the whole endpoint; another failure delays its own event", async () => {
  await using hub = await startWebhookTest();
  await using busy = await startReceiver(status(429, { "retry-after": "60" }));
  await using broken = await startReceiver(status(500, { "retry-after": "60" }));
  await hub.connect(busy.url, { events: ["message.accepted"] });
  await hub.connect(broken.url, { events: ["message.accepted"] });
  const engine = hub.start();
  const chat = await hub.chat();
  await hub.line.say(chat, "first");
  await Promise.all([busy.has(1), broken.has(1)]);
  await until("the attempts are written", async () => (await hub.deliveries()).every((row) => row.attempts >= 1));
  busy.answer = ok;
  broken.answer = ok;
  await hub.line.say(chat, "second");
  await until("the broken one is asked", () => broken.got.some(({ data }) => data.content === "second"));
  await engine.poll();
  assert.equal(busy.got.length, 1, "it asked for a minute");
  hub.passTime(61_000);
  await busy.has(3);
  assert.deepEqual(busy.got.map((got) => got.data.content).toSorted(), ["first", "first", "second"]);
});

test("410 disables the endpoint at once, notifies the others, and gives up waiting deliveries", async () => {
  await using hub = await startWebhookTest();
  await using leaving = await startReceiver(status(410));
  await using staying = await startReceiver();
  const gone = await hub.connect(leaving.url, { events: ["message.accepted"] });
  await hub.connect(staying.url, { events: ["webhook_endpoint.disabled"] });
  hub.start();
  await hub.line.say(await hub.chat(), "oi");
  await staying.has(1);
  assert.deepEqual(staying.got[0]!.data, {
    webhook_endpoint_id: gone.webhook_endpoint_id,
    status: "disabled",
    reason: "gone",
  });
  const [row] = await hub.rows<{ status: string; disabled_reason: string }>(
    "SELECT status, disabled_reason FROM webhook_endpoints WHERE webhook_endpoint_id = $1",
    [gone.webhook_endpoint_id],
  );
  assert.deepEqual(row, { status: "disabled", disabled_reason: "gone" });
  const acts = await hub.rows<{ action: string }>(
    "SELECT action FROM audit_log WHERE action LIKE 'webhook%' ORDER BY 1",
  );
  assert.deepEqual(
    acts.map((act) => act.action),
    ["webhook_endpoint.created", "webhook_endpoint.created", "webhook_endpoint.disabled"],
  );
});

test("five days of failures disable an endpoint; one success among them does not", async () => {
  await using hub = await startWebhookTest();
  await using dead = await startReceiver(status(500));
  await using moody = await startReceiver(status(500));
  const wanted = { events: ["message.accepted"] };
  const [lost, kept] = [await hub.connect(dead.url, wanted), await hub.connect(moody.url, wanted)];
  const engine = hub.start();
  const chat = await hub.chat();
  const statusOf = async (endpoint: { webhook_endpoint_id: string }) => {
    const [row] = await hub.rows<{ status: string }>(
      "SELECT status FROM webhook_endpoints WHERE webhook_endpoint_id = $1",
      [endpoint.webhook_endpoint_id],
    );
    return row!.status;
  };
  for (let passed = 0; passed < 5; passed += 1) {
    assert.equal(await statusOf(lost), "enabled", `after ${passed} days`);
    const [before, others] = [dead.got.length, moody.got.length];
    moody.answer = passed === 2 ? ok : status(500);
    await hub.line.say(chat, `day ${passed}`);
    await engine.poll();
    await dead.has(before + 1);
    await moody.has(others + 1);
    await until("the claims are released", async () => (await hub.deliveries()).every((row) => row.owner_id === null));
    hub.passTime(day + minute);
  }
  await hub.line.say(chat, "the last");
  await until("the dead endpoint is disabled", async () => (await statusOf(lost)) === "disabled");
  assert.equal(await statusOf(kept), "enabled");
});

test("an attempt that the hub cannot make counts, and the next follows on schedule", async () => {
  await using hub = await startWebhookTest();
  await using receiver = await startReceiver();
  const { webhook_endpoint_id: id } = await hub.connect(receiver.url, { events: ["message.accepted"] });
  await hub.rows("UPDATE webhook_endpoints SET secret_sealed = 'not sealed' WHERE webhook_endpoint_id = $1", [id]);
  hub.start();
  await hub.line.say(await hub.chat(), "oi");
  await until("the attempt is written", async () => (await hub.deliveries())[0]?.attempts === 1);
  const [row] = await hub.deliveries();
  assert.deepEqual([row!.status, row!.owner_id], ["pending", null]);
  const [attempt] = await hub.rows<{ error: string }>("SELECT error FROM webhook_attempts");
  assert.match(attempt!.error, /could not send/);
  assert.equal(receiver.got.length, 0);
});

test("keeps only the beginning of a long response, and an endless one costs one attempt", async () => {
  await using hub = await startWebhookTest();
  await using receiver = await startReceiver((_got, response) => {
    response.writeHead(200);
    const write = () => response.write(`${"é".repeat(8_192)}\0`) || response.once("drain", write);
    const timer = setInterval(write, 1);
    response.on("close", () => clearInterval(timer));
  });
  await hub.connect(receiver.url, { events: ["message.accepted"] });
  hub.start();
  const start = Date.now();
  await hub.line.say(await hub.chat(), "oi");
  await until("the attempt is written", async () => (await hub.deliveries())[0]?.attempts === 1);
  assert.ok(Date.now() - start < patient(8_000));
  const [attempt] = await hub.rows<{ answer: string; status: string }>("SELECT answer, status FROM webhook_attempts");
  assert.deepEqual(attempt, { answer: "é".repeat(512), status: "succeeded" });
});
