import assert from "node:assert/strict";
import { test } from "node:test";
import { Bot } from "grammy";
import { until } from "../../../server/src/testing/until.ts";
import { defaultTelegramAccount as account } from "../default-accounts.ts";
import { call, type Driver, openDriver } from "../testing/driver.ts";
import { openReceiver, type Receiver } from "../testing/receiver.ts";

const token = account.bot_token;

test("an unmodified grammY bot sends, sets its webhook and polls", async () => {
  await using driver = await openDriver();
  const bot = new Bot(token, { client: { apiRoot: `${driver.url}/telegram` } });
  assert.equal((await bot.api.getMe()).username, account.username);
  const sent = await bot.api.sendMessage(123456, "Hello <b>Ana</b> &amp; co", { parse_mode: "HTML" });
  assert.equal(sent.text, "Hello Ana & co");
  assert.deepEqual(sent.entities, [{ type: "bold", offset: 6, length: 3 }]);
  assert.equal(await bot.api.setWebhook("http://127.0.0.1:9/hook", { secret_token: "s3cret" }), true);
  assert.equal((await bot.api.getWebhookInfo()).url, "http://127.0.0.1:9/hook");
  await assert.rejects(bot.api.getUpdates(), /409: Conflict/);
  await bot.api.deleteWebhook();

  const received: string[] = [];
  bot.on("message:text", async (context) => {
    received.push(`${context.from.first_name}: ${context.message.text}`);
    await context.reply(`you said ${context.message.text}`, {
      reply_parameters: { message_id: context.message.message_id },
    });
  });
  const running = bot.start();
  await driver.control("POST", "inbound", { channel: "telegram", from: 123456, name: "Ana Lima", payload: "oi" });
  await driver.control("POST", "inbound", { channel: "telegram", from: "telegram:123456", payload: "/start promo" });
  await until("the bot receives both updates", () => received.length === 2);
  await until(
    "the bot's replies arrive",
    async () => (await driver.messages("?channel=telegram&to=123456")).length === 3,
  );
  await bot.stop();
  await running;
  assert.deepEqual(received, ["Ana: oi", "Ana: /start promo"]);
  assert.deepEqual(await bot.api.getUpdates(), []);
});

test("updates are sent to the webhook with its secret, in order for each chat", async () => {
  await using receiver = await openReceiver();
  await using driver = await openDriver();
  await driver.control("POST", "settings", { channel: "telegram", time_factor: 1000 });
  let refusals = 3;
  receiver.reply = ({ body }) => {
    const isFirst = body.includes('"one"');
    return { status: isFirst && refusals-- > 0 ? 500 : 204 };
  };
  await driver.bot("setWebhook", { url: receiver.url, secret_token: "s3cret" });
  for (const [from, text] of [
    [1, "one"],
    [1, "two"],
    [2, "other"],
    [1, "three"],
  ]) {
    const reply = await driver.control("POST", "inbound", { channel: "telegram", from, payload: text });
    assert.equal(typeof reply.body.update_id, "number");
  }
  await driver.idle();
  const texts = receiver.received.map(({ body }) => JSON.parse(body).message.text);
  assert.deepEqual(
    texts.filter((text) => text !== "other"),
    ["one", "one", "one", "one", "two", "three"],
  );
  assert.ok(texts.indexOf("other") < texts.indexOf("two"), "the stuck chat held up another");
  for (const { headers } of receiver.received) assert.equal(headers["x-telegram-bot-api-secret-token"], "s3cret");
});

test("a receiver's Retry-After is honoured", async () => {
  await using receiver = await openReceiver();
  await using driver = await openDriver();
  await driver.control("POST", "settings", { channel: "telegram", time_factor: 10 });
  receiver.reply = (_, count) => (count === 1 ? { status: 503, headers: { "retry-after": "3" } } : { status: 200 });
  await driver.bot("setWebhook", { url: receiver.url });
  const start = Date.now();
  await driver.control("POST", "inbound", { channel: "telegram", from: 1, payload: "x" });
  await driver.idle();
  assert.ok(Date.now() - start >= 290, "3 s at ten times the speed");
  assert.equal(receiver.received.length, 2);
  const { result } = (await driver.bot("getWebhookInfo")).body;
  assert.equal(result.last_error_message, "Wrong response from the webhook: 503");
});

test("updates wait until they are confirmed by an offset", async () => {
  await using driver = await openDriver();
  const ids: number[] = [];
  for (const payload of ["a", "b", "c"]) ids.push((await write(driver, 7, payload)).update_id);
  const get = async (parameters: object) => updates(await driver.bot("getUpdates", parameters));
  assert.deepEqual(await get({ limit: 2 }), ["a", "b"]);
  assert.deepEqual(await get({}), ["a", "b", "c"]);
  assert.deepEqual(await get({ offset: ids[1] }), ["b", "c"]);
  assert.deepEqual(await get({ offset: -1 }), ["c"]);
  assert.deepEqual(await get({ offset: ids[2]! + 1 }), []);

  const polls = [1, 2].map(async (poll) => ({ poll, reply: await driver.bot("getUpdates", { timeout: 30 }) }));
  const ended = await Promise.race(polls);
  assert.match(ended.reply.body.description, /^Conflict: terminated by other getUpdates request/);
  await write(driver, 7, "d");
  const other = (await Promise.all(polls)).find(({ poll }) => poll !== ended.poll);
  assert.deepEqual(updates(other!.reply), ["d"]);
  await driver.bot("setWebhook", { url: "http://localhost:9/" });
  assert.equal((await driver.bot("getUpdates")).status, 409);
});

test("updates that waited for a poll are sent to a webhook that is set later", async () => {
  await using receiver = await openReceiver();
  await using driver = await openDriver();
  await write(driver, 7, "early");
  assert.equal((await driver.bot("getWebhookInfo")).body.result.pending_update_count, 1);
  await driver.bot("setWebhook", { url: receiver.url });
  await driver.idle();
  assert.deepEqual(texts(receiver), ["early"]);
});

test("all four encodings and any case of a method's name are accepted, by GET and POST", async () => {
  await using driver = await openDriver();
  const url = `${driver.url}/telegram/bot${token}/SENDmessage`;
  const target = await driver.bot("sendMessage", { chat_id: 5, text: "first" });
  const reply_parameters = JSON.stringify({ message_id: target.body.result.message_id });
  const fields = { chat_id: "5", text: "olá", reply_parameters };
  const multipart = new FormData();
  for (const [name, value] of Object.entries(fields)) multipart.set(name, value);
  const replies = [
    await fetch(`${url}?${new URLSearchParams(fields)}`),
    await fetch(url, { method: "POST", body: new URLSearchParams(fields) }),
    await fetch(url, { method: "POST", body: multipart }),
    await fetch(url, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ ...fields, reply_parameters: JSON.parse(reply_parameters) }),
    }),
  ];
  for (const reply of replies) {
    const { ok, result } = (await reply.json()) as { ok: boolean; result: Record<string, { text: string }> };
    assert.equal(ok, true);
    assert.equal(result.text, "olá");
    assert.equal(result.reply_to_message?.text, "first");
  }
  const ids = (await driver.messages()).map((message) => Number(message.provider_message_id));
  assert.deepEqual(ids, [1, 2, 3, 4, 5]);
});

test("invalid calls get the platform's own errors", async () => {
  await using driver = await openDriver();
  await driver.control("POST", "block", { channel: "telegram", from: "666" });
  const text = "x";
  const cases: [string, object, number, string][] = [
    ["sendMessage", { text }, 400, "Bad Request: chat_id is empty"],
    ["sendMessage", { chat_id: 5 }, 400, "Bad Request: message text is empty"],
    ["sendMessage", { chat_id: 5, text: " \n" }, 400, "Bad Request: message text is empty"],
    ["sendMessage", { chat_id: 5, text: "x".repeat(4097) }, 400, "Bad Request: message is too long"],
    ["sendMessage", { chat_id: 9990000000, text }, 400, "Bad Request: chat not found"],
    ["sendMessage", { chat_id: 9999999999, text }, 400, "Bad Request: chat not found"],
    ["sendMessage", { chat_id: -5, text }, 400, "Bad Request: chat not found"],
    ["sendMessage", { chat_id: "@someone", text }, 400, "Bad Request: chat not found"],
    ["sendMessage", { chat_id: 666, text }, 403, "Forbidden: bot was blocked by the user"],
    [
      "sendMessage",
      { chat_id: 5, text, reply_parameters: { message_id: 99 } },
      400,
      "Bad Request: message to be replied not found",
    ],
    [
      "sendMessage",
      { chat_id: 5, text: "<b>x", parse_mode: "HTML" },
      400,
      `Bad Request: can't parse entities: Can't find end tag corresponding to start tag "b"`,
    ],
    [
      "sendMessage",
      { chat_id: 5, text: "a.b", parse_mode: "MarkdownV2" },
      400,
      "Bad Request: can't parse entities: Character '.' is reserved and must be escaped with the preceding '\\'",
    ],
    ["sendLocation", { chat_id: 5, latitude: 91, longitude: 0 }, 400, "Bad Request: invalid latitude specified"],
    ["sendVenue", { chat_id: 5, latitude: 1, longitude: 1, address: "A" }, 400, "Bad Request: VENUE_TITLE_EMPTY"],
    [
      "setMessageReaction",
      { chat_id: 5, message_id: 99, reaction: [] },
      400,
      "Bad Request: message to react not found",
    ],
    ["sendChatAction", { chat_id: 5, action: "dance" }, 400, "Bad Request: wrong parameter action in request"],
    [
      "setWebhook",
      { url: "http://example.com/" },
      400,
      "Bad Request: bad webhook: An HTTPS URL must be provided for webhook",
    ],
    [
      "setWebhook",
      { url: "https://example.com:8080/" },
      400,
      "Bad Request: bad webhook: Webhook can be set up only on ports 80, 88, 443 or 8443",
    ],
    [
      "setWebhook",
      { url: "http://localhost/", secret_token: "a b" },
      400,
      "Bad Request: secret token contains unallowed characters",
    ],
    ["sendCake", {}, 404, "Not Found: method not found"],
  ];
  for (const [method, parameters, status, description] of cases) {
    const reply = await driver.bot(method, parameters);
    assert.deepEqual(reply.body, { ok: false, error_code: status, description });
    assert.equal(reply.status, status);
  }
  const unknown = await call(`${driver.url}/telegram/bot1:x/getMe`, "GET");
  assert.deepEqual([unknown.status, unknown.body.description], [401, "Unauthorized"]);
  assert.equal((await call(`${driver.url}/telegram/file/x`, "GET")).status, 404);
  assert.deepEqual(await driver.messages(), []);
});

test("by default a bot can write only to people who have written to it", async () => {
  await using driver = await openDriver({ enforceWindow: undefined });
  const sends = [
    ["sendMessage", { chat_id: 5, text: "hello" }],
    ["sendChatAction", { chat_id: 5, action: "typing" }],
  ] as const;
  for (const [method, parameters] of sends) {
    const { status, body } = await driver.bot(method, parameters);
    assert.deepEqual([status, body.description], [400, "Bad Request: chat not found"]);
  }
  await driver.control("POST", "inbound", { channel: "telegram", from: 5, payload: "/start" });
  for (const [method, parameters] of sends) assert.equal((await driver.bot(method, parameters)).status, 200);
  assert.equal((await driver.bot("sendMessage", { chat_id: 6, text: "hello" })).status, 400);
});

test("a missing optional quote is ignored, reactions and locations arrive, and chat actions are not stored", async () => {
  await using driver = await openDriver();
  const reply_parameters = { message_id: 99, allow_sending_without_reply: true };
  const sent = await driver.bot("sendMessage", { chat_id: 5, text: "x", reply_parameters });
  assert.equal(sent.body.result.reply_to_message, undefined);
  const place = await driver.bot("sendLocation", { chat_id: 5, latitude: -23.5, longitude: "-46.6" });
  assert.deepEqual(place.body.result.location, { latitude: -23.5, longitude: -46.6 });
  const reaction = [{ type: "emoji", emoji: "👍" }];
  assert.equal((await driver.bot("setMessageReaction", { chat_id: 5, message_id: 1, reaction })).body.result, true);
  assert.equal((await driver.bot("sendChatAction", { chat_id: 5, action: "typing" })).body.result, true);
  const messages = await driver.messages("?channel=telegram");
  assert.deepEqual(
    messages.map(({ kind, text, provider_message_id }) => [kind, text, provider_message_id]),
    [
      ["text", "x", "1"],
      ["location", null, "2"],
      ["reaction", "👍", "1"],
    ],
  );
});

test("people reply, block, and react if the bot asked for reactions", async () => {
  await using receiver = await openReceiver();
  await using driver = await openDriver();
  await driver.bot("setWebhook", { url: receiver.url });
  const reaction = { type: "reaction", message_id: "1", emoji: "🔥" };
  await driver.bot("sendMessage", { chat_id: 5, text: "question" });
  const refused = await driver.control("POST", "inbound", { channel: "telegram", from: 5, payload: reaction });
  assert.equal(refused.status, 409);
  await driver.bot("setWebhook", {
    url: receiver.url,
    allowed_updates: ["message", "message_reaction", "my_chat_member"],
  });
  await driver.control("POST", "inbound", { channel: "telegram", from: 5, payload: reaction });
  await driver.control("POST", "inbound", { channel: "telegram", from: 5, payload: "answer", reply_to: "5:1" });
  await driver.control("POST", "inbound", {
    channel: "telegram",
    from: 5,
    payload: { type: "location", latitude: 1, longitude: 2 },
  });
  await driver.control("POST", "inbound", {
    channel: "telegram",
    from: 5,
    payload: { type: "file", content_type: "application/pdf", filename: "a.pdf" },
  });
  await driver.control("POST", "block", { channel: "telegram", from: 5 });
  await driver.idle();
  const [reacted, answered, place, file, blocked] = receiver.received.map(({ body }) => JSON.parse(body));
  assert.deepEqual(reacted.message_reaction.new_reaction, [{ type: "emoji", emoji: "🔥" }]);
  assert.equal(answered.message.reply_to_message.text, "question");
  assert.deepEqual(place.message.location, { latitude: 1, longitude: 2 });
  assert.equal(file.message.document.file_name, "a.pdf");
  assert.equal(blocked.my_chat_member.new_chat_member.status, "kicked");
  assert.equal((await driver.bot("sendMessage", { chat_id: 5, text: "x" })).status, 403);
  await driver.control("POST", "block", { channel: "telegram", from: 5, blocked: false });
  assert.equal((await driver.bot("sendMessage", { chat_id: 5, text: "x" })).status, 200);
});

async function write(driver: Driver, from: number, payload: string) {
  return (await driver.control("POST", "inbound", { channel: "telegram", from, payload })).body;
}

function updates(reply: { body: { result: { message: { text: string } }[] } }): string[] {
  return reply.body.result.map((update) => update.message.text);
}

function texts(receiver: Receiver): string[] {
  return receiver.received.map(({ body }) => JSON.parse(body).message.text);
}
