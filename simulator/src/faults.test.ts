import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { until } from "../../server/src/testing/until.ts";
import { defaultTelegramAccount, defaultWhatsAppAccount } from "./default-accounts.ts";
import { type Driver, openDriver } from "./testing/driver.ts";
import { openReceiver, type Receiver } from "./testing/receiver.ts";

const ana = "+5511999991111";

test("a rate limit responds as each platform does, with the seconds to wait", async () => {
  await using driver = await openDriver();
  await fault(driver, { channel: "whatsapp", fault: "rate_limit", count: 1, retry_after_s: 7 });
  const whatsapp = await driver.sendText(ana, "x");
  assert.deepEqual([whatsapp.status, whatsapp.headers.get("retry-after")], [429, "7"]);
  assert.equal(whatsapp.body.error.code, 130429);
  assert.equal((await driver.sendText(ana, "x")).status, 200);

  await fault(driver, { channel: "telegram", fault: "rate_limit", count: 1 });
  const telegram = await driver.bot("sendMessage", { chat_id: 5, text: "x" });
  assert.deepEqual([telegram.status, telegram.headers.get("retry-after")], [429, "1"]);
  assert.deepEqual(telegram.body.parameters, { retry_after: 1 });
  assert.equal((await driver.messages()).length, 1);
});

test("a server error and a permanent refusal are not accepted", async () => {
  await using driver = await openDriver();
  for (const channel of ["whatsapp", "telegram"]) {
    await fault(driver, { channel, fault: "server_error", count: 1 });
    await fault(driver, { channel, fault: "permanent", count: 1 });
  }
  const first = await driver.sendText(ana, "x");
  assert.deepEqual([first.status, first.body.error.code], [500, 131000]);
  const second = await driver.sendText(ana, "x");
  assert.deepEqual([second.status, second.body.error.code], [400, 131026]);
  assert.equal((await driver.bot("sendMessage", { chat_id: 5, text: "x" })).status, 500);
  const blocked = await driver.bot("sendMessage", { chat_id: 5, text: "x" });
  assert.deepEqual([blocked.status, blocked.body.description], [403, "Forbidden: bot was blocked by the user"]);
  assert.deepEqual(await driver.messages(), []);
});

test("a timeout after accepting keeps the message without a response, and a reset keeps nothing", async () => {
  await using driver = await openDriver();
  await fault(driver, { channel: "whatsapp", fault: "timeout_after_accept", count: 1, delay_ms: 30 });
  await assert.rejects(driver.sendText(ana, "kept"));
  await fault(driver, { channel: "whatsapp", fault: "connection_reset", count: 1 });
  await assert.rejects(driver.sendText(ana, "lost"));
  await fault(driver, { channel: "telegram", fault: "timeout_after_accept", count: 1, delay_ms: 30 });
  await assert.rejects(driver.bot("sendMessage", { chat_id: 5, text: "kept too" }));
  assert.deepEqual(
    (await driver.messages()).map((message) => message.text),
    ["kept", "kept too"],
  );
});

test("slow waits and then works; down refuses every call of its channel only", async () => {
  await using driver = await openDriver();
  await fault(driver, { channel: "whatsapp", fault: "slow", count: 1, delay_ms: 60 });
  const start = Date.now();
  assert.equal((await driver.sendText(ana, "x")).status, 200);
  assert.ok(Date.now() - start >= 55);

  await fault(driver, { channel: "whatsapp", fault: "down", count: 2 });
  assert.equal((await driver.sendText(ana, "x")).status, 503);
  assert.equal((await driver.graph("GET", defaultWhatsAppAccount.phone_number_id)).status, 503);
  await fault(driver, { channel: "telegram", fault: "down", destroy: true });
  await assert.rejects(driver.bot("getMe"));
  assert.equal((await driver.sendText(ana, "x")).status, 200);
});

test("faults hit uploads and downloads too, and can be limited to one kind of call", async () => {
  await using driver = await openDriver();
  const image = () => driver.upload("x", "image/png");
  const { id } = (await image()).body;
  const { url } = (await driver.graph("GET", id)).body;
  const download = () => fetch(url, { headers: { authorization: `Bearer ${defaultWhatsAppAccount.access_token}` } });

  await fault(driver, { channel: "whatsapp", fault: "rate_limit", call: "download", count: 2, retry_after_s: 7 });
  assert.deepEqual([(await image()).status, (await driver.sendText(ana, "x")).status], [200, 200]);
  const limited = await driver.graph("GET", id);
  assert.deepEqual([limited.status, limited.headers.get("retry-after"), limited.body.error.code], [429, "7", 4]);
  assert.deepEqual([(await download()).status, (await download()).status], [429, 200]);

  await fault(driver, { channel: "whatsapp", fault: "server_error", count: 1 });
  assert.equal((await image()).status, 500);
  await fault(driver, { channel: "whatsapp", fault: "permanent", call: "upload", count: 1 });
  assert.equal((await image()).body.error.code, 131053);
  await fault(driver, { channel: "whatsapp", fault: "timeout_after_accept", call: "upload", count: 1, delay_ms: 30 });
  await assert.rejects(image());
  await fault(driver, { channel: "whatsapp", fault: "connection_reset", call: "download", count: 1 });
  await assert.rejects(download().then((response) => response.text()));
  await fault(driver, { channel: "whatsapp", fault: "slow", call: "download", count: 1, delay_ms: 60 });
  const start = Date.now();
  assert.equal(await (await download()).text(), "x");
  assert.ok(Date.now() - start >= 55);
  await fault(driver, { channel: "whatsapp", fault: "down", count: 2 });
  assert.deepEqual([(await image()).status, (await download()).status], [503, 503]);

  await fault(driver, { channel: "telegram", fault: "rate_limit", call: "download", count: 1 });
  assert.equal((await driver.bot("sendMessage", { chat_id: 5, text: "x" })).status, 200);
  assert.equal((await driver.bot("getFile", { file_id: "x" })).status, 429);
});

test("a connection that is reset during a download ends after half of its bytes", async () => {
  await using driver = await openDriver();
  const { id } = (await driver.upload("x".repeat(1_000_000), "image/png")).body;
  const { url } = (await driver.graph("GET", id)).body;
  await fault(driver, { channel: "whatsapp", fault: "connection_reset", call: "download", count: 1 });
  const headers = { authorization: `Bearer ${defaultWhatsAppAccount.access_token}` };
  const response = await fetch(url, { headers });
  assert.deepEqual([response.status, response.headers.get("content-length")], [200, "1000000"]);
  let bytes = 0;
  await assert.rejects(async () => {
    for await (const chunk of response.body!) bytes += chunk.length;
  });
  assert.equal(bytes, 500_000);
  assert.equal((await (await fetch(url, { headers })).text()).length, 1_000_000);
});

test("a fault can be limited to one person and to a duration", async () => {
  let now = Date.UTC(2026, 0, 1);
  await using driver = await openDriver({ now: () => now });
  await fault(driver, { channel: "whatsapp", fault: "server_error", to: "whatsapp:+55 11 99999-1111", for_ms: 1000 });
  assert.equal((await driver.sendText("16505551234", "x")).status, 200);
  assert.equal((await driver.sendText(ana, "x")).status, 500);
  now += 1000;
  assert.equal((await driver.sendText(ana, "x")).status, 200);
  const [listed] = (await driver.control("GET", "faults")).body.data;
  assert.deepEqual([listed.hits, listed.active, listed.to], [1, false, ana]);
});

test("with the same seed a fault hits the same sends", async () => {
  const run = async () => {
    await using driver = await openDriver({ seed: "dice" });
    await fault(driver, { channel: "whatsapp", fault: "server_error", probability: 0.5 });
    const statuses: number[] = [];
    for (let i = 0; i < 40; i++) statuses.push((await driver.sendText(ana, "x")).status);
    return statuses;
  };
  const first = await run();
  assert.deepEqual(await run(), first);
  const hits = first.filter((status) => status === 500).length;
  assert.ok(hits >= 10 && hits <= 30, `${hits} of 40`);
});

test("a closed window fails free-form messages later, not templates", async () => {
  await using receiver = await openReceiver();
  await using driver = await openWithWebhook(receiver);
  await fault(driver, { channel: "whatsapp", fault: "window_closed" });
  await driver.sendText(ana, "x");
  await driver.sendText(ana, "", { type: "template", template: { name: "hello_world", language: { code: "en_US" } } });
  await driver.idle();
  assert.deepEqual(statuses(receiver), ["failed", "sent", "delivered", "read"]);
});

test("webhooks can be dropped, duplicated and reordered", async () => {
  await using receiver = await openReceiver();
  await using driver = await openWithWebhook(receiver);
  await fault(driver, { channel: "whatsapp", fault: "drop_webhooks", count: 1 });
  await driver.sendText(ana, "x");
  await driver.idle();
  assert.deepEqual(statuses(receiver), ["delivered", "read"]);

  receiver.received.length = 0;
  await fault(driver, { channel: "whatsapp", fault: "duplicate_webhooks", count: 1, delay_ms: 100 });
  await driver.sendText(ana, "x");
  await driver.idle();
  assert.deepEqual(statuses(receiver), ["sent", "delivered", "read", "sent"]);

  receiver.received.length = 0;
  await fault(driver, { channel: "whatsapp", fault: "reorder_webhooks", count: 1, delay_ms: 400 });
  await driver.sendText(ana, "x");
  await driver.idle();
  assert.deepEqual(statuses(receiver), ["delivered", "read", "sent"]);
});

test("a webhook is duplicated even if its receiver responds after the delay of the duplicate", async () => {
  await using receiver = await openReceiver();
  await using driver = await openDriver({
    accounts: [defaultWhatsAppAccount, { ...defaultTelegramAccount, webhook_url: receiver.url }],
  });
  receiver.reply = async () => {
    await setTimeout(100);
    return { status: 200 };
  };
  await fault(driver, { channel: "telegram", fault: "duplicate_webhooks", count: 1, delay_ms: 1 });
  await driver.control("POST", "inbound", { channel: "telegram", from: 5, payload: "x" });
  await driver.idle();
  const [first, second, ...more] = receiver.received.map(({ body }) => body);
  assert.ok(first !== undefined && more.length === 0);
  assert.equal(second, first);
});

test("a refused webhook is retried with the same bytes, and newer ones do not wait for it", async () => {
  await using receiver = await openReceiver();
  await using driver = await openWithWebhook(receiver);
  await driver.control("POST", "settings", { channel: "whatsapp", time_factor: 20, auto_receipts: "sent" });
  receiver.reply = (_, count) => ({ status: count <= 3 ? 202 : 200 });
  await driver.sendText(ana, "first");
  await until("the webhook is repeated", () => receiver.received.length === 2);
  await driver.sendText(ana, "second");
  await driver.idle();
  const bodies = receiver.received.map(({ body }) => body);
  assert.equal(bodies[0], bodies[1]);
  const distinct = new Set(bodies);
  assert.equal(distinct.size, 2);
  for (const body of distinct) assert.ok(bodies.filter((one) => one === body).length >= 1);
});

test("a webhook times out when its receiver never responds, and is retried", async () => {
  await using receiver = await openReceiver();
  await using driver = await openWithWebhook(receiver);
  await driver.control("POST", "settings", { channel: "whatsapp", webhook_timeout_ms: 40, auto_receipts: "sent" });
  receiver.reply = (_, count) => (count === 1 ? undefined : { status: 200 });
  await driver.sendText(ana, "x");
  await driver.idle();
  assert.equal(receiver.received.length, 2);
});

test("receipts of many messages are sent in a few POSTs", async () => {
  await using receiver = await openReceiver();
  await using driver = await openWithWebhook(receiver);
  await driver.control("POST", "settings", { channel: "whatsapp", receipt_delay_ms: 0 });
  await Promise.all(Array.from({ length: 300 }, (_, i) => driver.sendText(`1650555${1000 + i}`, "x")));
  await driver.idle();
  assert.equal(statuses(receiver).length, 900);
  assert.ok(receiver.received.length < 100, `${receiver.received.length} POSTs`);
});

test("a number over its throughput is refused for a second", async () => {
  let now = Date.UTC(2026, 0, 1);
  await using driver = await openDriver({ now: () => now });
  await driver.control("POST", "settings", { channel: "whatsapp", throughput_per_second: 2 });
  const send = async () => (await driver.sendText(ana, "x")).status;
  assert.deepEqual([await send(), await send(), await send()], [200, 200, 429]);
  now += 500;
  assert.deepEqual([await send(), await send()], [200, 429]);
});

// A token bucket that counted wall time refused everything for as long as the clock was set back.
test("a clock that is set back refuses nothing and delays no receipt", async (t) => {
  let aheadMs = 0;
  const now = Date.now.bind(Date);
  t.mock.method(Date, "now", () => now() + aheadMs);
  await using receiver = await openReceiver();
  await using driver = await openWithWebhook(receiver);
  await driver.control("POST", "settings", { channel: "whatsapp", throughput_per_second: 50 });
  for (aheadMs of [0, -40_000, -3_600_000, 3_600_000, 0]) {
    receiver.received.length = 0;
    assert.equal((await driver.sendText(ana, "x")).status, 200, `${aheadMs} ms`);
    await driver.idle();
    assert.deepEqual(statuses(receiver), ["sent", "delivered", "read"], `${aheadMs} ms`);
  }
});

test("automatic receipts stop at the configured status, and manual ones can have any status", async () => {
  await using receiver = await openReceiver();
  await using driver = await openWithWebhook(receiver);
  await driver.control("POST", "settings", { channel: "whatsapp", auto_receipts: false });
  const provider_message_id = (await driver.sendText(ana, "x")).body.messages[0].id;
  for (const status of ["read", "delivered", "failed"]) {
    const code = status === "failed" ? { code: 131049, title: "Healthy ecosystem" } : {};
    assert.equal((await driver.control("POST", "receipt", { provider_message_id, status, ...code })).status, 201);
    await driver.idle();
  }
  assert.deepEqual(statuses(receiver), ["read", "delivered", "failed"]);
  assert.match(receiver.received.at(-1)!.body, /"code":131049,"title":"Healthy ecosystem"/);
  await driver.control("POST", "settings", { channel: "whatsapp", auto_receipts: "delivered" });
  receiver.received.length = 0;
  await driver.sendText(ana, "x");
  await driver.idle();
  assert.deepEqual(statuses(receiver), ["sent", "delivered"]);
});

async function fault(driver: Driver, order: object): Promise<void> {
  const reply = await driver.control("POST", "faults", order);
  assert.equal(reply.status, 201, JSON.stringify(reply.body));
  assert.match(reply.body.fault_id, /^fault_\d+$/);
}

function openWithWebhook(receiver: Receiver): Promise<Driver> {
  return openDriver({
    accounts: [{ ...defaultWhatsAppAccount, webhook_url: receiver.url }, defaultTelegramAccount],
  });
}

function statuses(receiver: Receiver): string[] {
  return receiver.received
    .flatMap(({ body }) => JSON.parse(body).entry[0].changes)
    .flatMap((change) => change.value.statuses)
    .map((status) => status.status);
}
