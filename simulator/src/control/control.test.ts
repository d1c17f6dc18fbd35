import assert from "node:assert/strict";
import { test } from "node:test";
import { defaultAccounts, defaultTelegramAccount, defaultWhatsAppAccount } from "../default-accounts.ts";
import { openDriver } from "../testing/driver.ts";
import { openReceiver } from "../testing/receiver.ts";

const ana = "+5511999991111";

test("messages are listed oldest first, by channel, person and page", async () => {
  await using driver = await openDriver();
  for (const text of ["a", "b", "c"]) await driver.sendText(ana, text);
  await driver.sendText("16505551234", "d");
  await driver.bot("sendMessage", { chat_id: 5511999991111, text: "e" });
  const texts = async (query: string) => (await driver.messages(query)).map((message) => message.text);
  assert.deepEqual(await texts(""), ["a", "b", "c", "d", "e"]);
  assert.deepEqual(await texts("?channel=whatsapp&limit=2"), ["a", "b"]);
  for (const to of ["5511999991111", "%2B5511999991111", "whatsapp:%2B5511999991111"]) {
    assert.deepEqual(await texts(`?channel=whatsapp&to=${to}`), ["a", "b", "c"]);
  }
  assert.deepEqual(await texts("?to=telegram:5511999991111"), ["e"]);

  const first = (await driver.control("GET", "messages?limit=3")).body;
  const second = (await driver.control("GET", `messages?after=${first.next_after}`)).body;
  assert.deepEqual(
    [...first.data, ...second.data].map((message: { text: string }) => message.text),
    ["a", "b", "c", "d", "e"],
  );
  assert.deepEqual((await driver.control("GET", `messages?after=${second.next_after}`)).body.data, []);
  assert.deepEqual(Object.keys(first.data[0]), [
    "channel",
    "account",
    "to",
    "provider_message_id",
    "kind",
    "text",
    "media",
    "raw",
    "received_at",
  ]);
});

test("malformed input is refused with an error that says what is valid", async () => {
  await using driver = await openDriver();
  const cases: [string, string, unknown, RegExp][] = [
    ["POST", "inbound", { channel: "fax", from: "1", payload: "x" }, /channel must be one of whatsapp, telegram/],
    ["POST", "inbound", { channel: "whatsapp", from: "ana", payload: "x" }, /from must identify someone on whatsapp/],
    ["POST", "inbound", { channel: "whatsapp", from: ana }, /payload must be a text or an object/],
    ["POST", "inbound", { channel: "whatsapp", from: ana, payload: { type: "text", txt: "x" } }, /unknown field "txt"/],
    ["POST", "inbound", { channel: "telegram", from: 9990000000, payload: "x" }, /can never start a bot/],
    ["POST", "receipt", { provider_message_id: "x" }, /status must be/],
    ["POST", "faults", { channel: "whatsapp", fault: "flood" }, /fault must be one of rate_limit/],
    ["POST", "faults", { channel: "telegram", fault: "window_closed" }, /telegram has no fault window_closed/],
    [
      "POST",
      "faults",
      { channel: "whatsapp", fault: "slow", probability: 2 },
      /probability must be a number from 0 to 1/,
    ],
    ["POST", "faults", { channel: "whatsapp", fault: "slow", typo: 2 }, /unknown field "typo"/],
    ["POST", "settings", { channel: "whatsapp", auto_receipts: "seen" }, /auto_receipts must be one of/],
    ["POST", "settings", { channel: "telegram", auto_receipts: true }, /telegram has no receipts/],
    ["POST", "settings", [], /body must be a JSON object/],
    ["POST", "accounts", { channel: "whatsapp" }, /phone_number_id must be a string of digits/],
    ["POST", "accounts", { channel: "telegram", bot_token: "1:x" }, /bot_token must be <bot id>:<35/],
    ["POST", "accounts", { name: "x" }, /an object with a channel/],
    ["GET", "messages?limit=0", undefined, /limit must be a whole number from 1 to 100000/],
    ["GET", "messages?chanel=whatsapp", undefined, /unknown field "chanel"/],
  ];
  for (const [method, path, body, message] of cases) {
    const reply = await driver.control(method, path, body);
    assert.equal(reply.status, 400, path);
    assert.equal(reply.body.success, false);
    assert.equal(reply.body.error.code, "VALIDATION_ERROR");
    assert.match(reply.body.error.message, message);
    assert.ok(reply.body.error.request_id);
  }
  const unknown = await driver.control("POST", "receipt", { provider_message_id: "wamid.X", status: "read" });
  assert.deepEqual([unknown.status, unknown.body.error.code], [404, "RESOURCE_NOT_FOUND"]);
  const wrongJson = await fetch(`${driver.url}/_sim/inbound`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: "{",
  });
  assert.equal(((await wrongJson.json()) as { error: { code: string } }).error.code, "VALIDATION_ERROR");
  assert.equal((await driver.control("GET", "nothing")).status, 404);
});

test("more files of people at once than can be written get 503", async () => {
  await using driver = await openDriver();
  const payload = { type: "file", content_type: "image/png", size: 2 << 20 };
  const send = () => driver.control("POST", "inbound", { channel: "whatsapp", from: ana, payload });
  const replies = await Promise.all(Array.from({ length: 60 }, send));
  const refused = replies.filter(({ status }) => status !== 201);
  assert.ok(refused.length > 0 && refused.length <= 60 - 32, `${refused.length} were refused`);
  for (const { status, body, headers } of refused) {
    assert.deepEqual([status, body.error.code, headers.get("retry-after")], [503, "OVERLOADED", "1"]);
  }
  assert.equal((await send()).status, 201);
});

test("accounts are listed with their credentials, added and updated", async () => {
  await using driver = await openDriver();
  const list = async () => (await driver.control("GET", "accounts")).body.data;
  assert.deepEqual(
    (await list()).map((account: { channel: string }) => account.channel),
    defaultAccounts.map(({ channel }) => channel),
  );
  for (const [index, account] of defaultAccounts.entries()) {
    const listed = (await list())[index];
    for (const [field, value] of Object.entries(account)) assert.equal(listed[field], value);
  }
  const second = { ...defaultWhatsAppAccount, phone_number_id: "200", webhook_url: "http://127.0.0.1:9/" };
  assert.equal((await driver.control("POST", "accounts", second)).status, 201);
  const { webhook_url, ...update } = { ...second, access_token: "EAAother" };
  assert.equal((await driver.control("POST", "accounts", update)).body.webhook_url, webhook_url);
  assert.equal((await list()).length, 3);
  const named = { channel: "whatsapp", account: "200", from: ana, payload: "x" };
  assert.equal((await driver.control("POST", "inbound", named)).status, 201);
});

test("without an account, a person writes to the account that wrote to them last, or else to the oldest", async () => {
  await using receiver = await openReceiver();
  const first = { ...defaultWhatsAppAccount, webhook_url: receiver.url };
  await using driver = await openDriver({ accounts: [first, { ...first, phone_number_id: "200" }] });
  const receivingAccount = async (from: string) => {
    receiver.received.length = 0;
    await driver.control("POST", "inbound", { channel: "whatsapp", from, payload: "x" });
    await driver.idle();
    return JSON.parse(receiver.received[0]!.body).entry[0].changes[0].value.metadata.phone_number_id;
  };
  assert.equal(await receivingAccount(ana), defaultWhatsAppAccount.phone_number_id);
  await driver.graph("POST", "200/messages", { messaging_product: "whatsapp", to: ana, text: { body: "from 200" } });
  await driver.idle();
  assert.equal(await receivingAccount(ana), "200");
  assert.equal(await receivingAccount("+5511999992222"), defaultWhatsAppAccount.phone_number_id);
});

test("a reset deletes everything except accounts, their webhooks and the id counters", async () => {
  await using driver = await openDriver();
  await driver.bot("setWebhook", { url: "http://127.0.0.1:9/hook" });
  await driver.control("POST", "settings", { channel: "whatsapp", latency_ms: 1 });
  await driver.control("POST", "faults", { channel: "whatsapp", fault: "down" });
  await driver.bot("sendMessage", { chat_id: 5, text: "x" });
  await driver.control("POST", "inbound", { channel: "telegram", from: 5, payload: "x" });
  assert.equal((await driver.control("GET", "idle")).body.idle, false);

  assert.equal((await driver.control("POST", "reset")).status, 204);
  assert.deepEqual((await driver.control("GET", "idle")).body, { idle: true, pending_webhooks: 0 });
  assert.deepEqual(await driver.messages(), []);
  assert.deepEqual((await driver.control("GET", "faults")).body, { data: [] });
  assert.equal((await driver.control("GET", "settings")).body.whatsapp.latency_ms, 0);
  assert.equal((await driver.bot("getWebhookInfo")).body.result.url, "http://127.0.0.1:9/hook");
  assert.equal((await driver.bot("sendMessage", { chat_id: 5, text: "x" })).body.result.message_id, 3);
});

test("a request without a body can have the content type JSON", async () => {
  await using driver = await openDriver();
  const headers = { "content-type": "application/json" };
  assert.equal((await fetch(`${driver.url}/_sim/reset`, { method: "POST", headers })).status, 204);
  assert.equal((await fetch(`${driver.url}/_sim/faults`, { method: "DELETE", headers })).status, 204);
  assert.equal((await fetch(`${driver.url}/_sim/faults`, { method: "POST", headers })).status, 400);
});

test("a change of settings keeps the settings that it does not name", async () => {
  await using driver = await openDriver();
  const merged = await driver.control("POST", "settings", { channel: "telegram", latency_ms: 3 });
  assert.equal(merged.body.channel, "telegram");
  assert.equal(merged.body.latency_ms, 3);
  assert.equal(merged.body.webhook_timeout_ms, 60_000);
  const all = (await driver.control("GET", "settings")).body;
  assert.equal(all.telegram.latency_ms, 3);
  assert.equal(all.whatsapp.auto_receipts, true);
});

test("the page shows messages and escapes their HTML", async () => {
  await using driver = await openDriver();
  await driver.sendText(ana, "<script>alert(1)</script>");
  await driver.bot("sendMessage", { chat_id: 5, text: "hi" });
  const page = await (await fetch(`${driver.url}/_sim/`)).text();
  assert.match(page, /&#60;script&#62;/);
  assert.doesNotMatch(page, /<script/);
  assert.match(page, /curl -X POST/);
  assert.match(page, new RegExp(defaultTelegramAccount.bot_token.split(":")[0]!));
});
