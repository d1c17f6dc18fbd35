import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { test } from "node:test";
import { until } from "../../../server/src/testing/until.ts";
import { defaultWhatsAppAccount as account } from "../default-accounts.ts";
import { call, openDriver } from "../testing/driver.ts";
import { openReceiver, type Received, type Receiver } from "../testing/receiver.ts";

const ana = "+5511999991111";

test("a business sets its webhook, sends messages, and receives signed receipts and messages", async () => {
  await using receiver = await openReceiver();
  await using driver = await openDriver();
  receiver.reply = echoChallenge;
  const set = await driver.graph("POST", account.phone_number_id, {
    webhook_configuration: { override_callback_uri: receiver.url, verify_token: "chosen" },
  });
  assert.deepEqual(set.body, { success: true });
  assert.equal(receiver.received[0]?.url.searchParams.get("hub.verify_token"), "chosen");

  const sent = await driver.sendText(ana, "olá 👍 a/b", { biz_opaque_callback_data: "message-1" });
  assert.equal(sent.status, 200);
  assert.deepEqual(sent.body.contacts, [{ input: ana, wa_id: "5511999991111" }]);
  const id = sent.body.messages[0].id;
  await until("three statuses arrive", () => statuses(receiver).length === 3);
  assert.deepEqual(
    statuses(receiver).map((status) => status.status),
    ["sent", "delivered", "read"],
  );
  for (const status of statuses(receiver)) {
    assert.equal(status.id, id);
    assert.equal(status.recipient_id, "5511999991111");
    assert.equal(status.biz_opaque_callback_data, "message-1");
  }
  assert.equal(statuses(receiver)[0].conversation.origin.type, "service");

  const wrote = await driver.control("POST", "inbound", {
    channel: "whatsapp",
    from: `whatsapp:${ana}`,
    name: "Ana Lima",
    payload: { type: "text", text: "não é http://x/ 👍" },
    reply_to: id,
  });
  assert.equal(wrote.status, 201);
  await until("the message arrives", () => inbound(receiver).length === 1);
  const value = inbound(receiver)[0];
  assert.deepEqual(value.contacts, [{ profile: { name: "Ana Lima" }, wa_id: "5511999991111" }]);
  assert.deepEqual(value.metadata, {
    display_phone_number: account.display_phone_number,
    phone_number_id: account.phone_number_id,
  });
  assert.equal(value.messages[0].id, wrote.body.provider_message_id);
  assert.equal(value.messages[0].text.body, "não é http://x/ 👍");
  assert.deepEqual(value.messages[0].context, { from: account.display_phone_number, id });

  for (const request of receiver.received.slice(1)) assertSigned(request);
  const [message] = await driver.messages("?channel=whatsapp&to=5511999991111");
  assert.equal(message?.to, ana);
  assert.equal(message?.text, "olá 👍 a/b");
  assert.equal(message?.provider_message_id, id);
});

test("a webhook is not set unless its receiver echoes the exact challenge", async () => {
  await using receiver = await openReceiver();
  await using driver = await openDriver();
  receiver.reply = ({ url }) => ({ status: 200, body: `${url.searchParams.get("hub.challenge")}\n` });
  const set = await driver.graph("POST", account.phone_number_id, {
    webhook_configuration: { override_callback_uri: receiver.url, verify_token: "chosen" },
  });
  assert.equal(set.status, 400);
  assert.equal(set.body.error.code, 2200);
  const number = await driver.graph("GET", `${account.phone_number_id}?fields=webhook_configuration,quality_rating`);
  assert.deepEqual(number.body, { webhook_configuration: {}, quality_rating: "GREEN", id: account.phone_number_id });
});

test("invalid calls get the platform's own errors", async () => {
  await using driver = await openDriver();
  const path = `${account.phone_number_id}/messages`;
  const base = { messaging_product: "whatsapp", to: ana };
  const text = { body: "x" };
  const cases: [string, object, number, number][] = [
    ["no product", { to: ana, text }, 400, 100],
    ["no recipient", { messaging_product: "whatsapp", text }, 400, 131008],
    ["no such recipient", { ...base, to: "ana", text }, 400, 131009],
    ["no text", { ...base, type: "text" }, 400, 131008],
    ["an empty text", { ...base, text: { body: " " } }, 400, 131009],
    ["too long a text", { ...base, text: { body: "x".repeat(4097) } }, 400, 100],
    ["an unknown type", { ...base, type: "poll", poll: {} }, 400, 131051],
    ["a type of the wrong kind", { ...base, type: 7 }, 400, 131051],
    ["the sender itself", { ...base, to: `+${account.display_phone_number}`, text }, 400, 131021],
    ["an image from nowhere", { ...base, type: "image", image: {} }, 400, 131009],
    ["a caption on audio", { ...base, type: "audio", audio: { id: "1", caption: "x" } }, 400, 100],
    ["a place off the globe", { ...base, type: "location", location: { latitude: 91, longitude: 0 } }, 400, 131009],
    ["a reaction to nothing", { ...base, type: "reaction", reaction: { emoji: "👍" } }, 400, 131008],
    ["too much callback data", { ...base, text, biz_opaque_callback_data: "á".repeat(257) }, 400, 100],
    ["an unknown template", { ...base, type: "template", template: template("nope", "en_US") }, 404, 132001],
    ["too few parameters", { ...base, type: "template", template: template("order_shipped", "pt_BR", 1) }, 400, 132000],
    ["four buttons", { ...base, type: "interactive", interactive: buttons(4) }, 400, 100],
    ["a wrong marker", { messaging_product: "whatsapp", status: "seen", message_id: "wamid.1" }, 400, 131009],
  ];
  for (const [what, body, status, code] of cases) {
    const reply = await driver.graph("POST", path, body);
    assert.equal(reply.status, status, what);
    assert.equal(reply.body.error.code, code, what);
    assert.match(reply.body.error.fbtrace_id, /^A/, what);
  }
  const wrongJson = await fetch(`${driver.url}/whatsapp/${path}`, {
    method: "POST",
    headers: { authorization: `Bearer ${account.access_token}`, "content-type": "application/json" },
    body: '{"messaging_product":',
  });
  assert.equal(wrongJson.status, 400);
  assert.equal(((await wrongJson.json()) as { error: { code: number } }).error.code, 100);

  const badToken = await call(`${driver.url}/whatsapp/${path}`, "POST", base, { authorization: "Bearer EAAwrong" });
  assert.deepEqual([badToken.status, badToken.body.error.code], [401, 190]);
  const unknown = await driver.graph("POST", "555/messages", { ...base, text });
  assert.deepEqual([unknown.status, unknown.body.error.code, unknown.body.error.error_subcode], [400, 100, 33]);
  assert.deepEqual(await driver.messages(), []);
});

test("every kind of message is accepted, with the token in header, query or body, as JSON or as a form", async () => {
  await using driver = await openDriver();
  const path = `${account.phone_number_id}/messages`;
  const base = { messaging_product: "whatsapp", to: "16505551234" };
  const id = async (type: string) => (await driver.upload("bytes", type)).body.id;
  const contents: [string, object, string | null][] = [
    ["image", { link: "http://127.0.0.1:9/a.png", caption: "look" }, "look"],
    ["document", { id: await id("application/pdf"), filename: "a.pdf" }, null],
    ["audio", { id: await id("audio/ogg") }, null],
    ["video", { link: "http://127.0.0.1:9/v.mp4" }, null],
    ["sticker", { id: await id("image/webp") }, null],
    ["location", { latitude: -23.56, longitude: -46.65, name: "Store" }, "Store"],
    ["reaction", { message_id: "wamid.X", emoji: "👍" }, "👍"],
    ["template", template("order_shipped", "pt_BR", 2), "order_shipped"],
    ["interactive", buttons(2), "Confirm?"],
  ];
  for (const [type, content] of contents) {
    const reply = await driver.graph("POST", path, {
      ...base,
      type,
      [type]: content,
      context: { message_id: "wamid.Y" },
    });
    assert.equal(reply.status, 200, `${type}: ${JSON.stringify(reply.body)}`);
  }
  assert.equal(
    (await driver.graph("POST", path, { ...base, type: "contacts", contacts: [{ name: { formatted_name: "A" } }] }))
      .status,
    200,
  );

  const form = new URLSearchParams({ ...base, text: '{"body":"from a form"}', access_token: account.access_token });
  assert.equal((await fetch(`${driver.url}/whatsapp/v1.0/${path}`, { method: "POST", body: form })).status, 200);
  const query = new URLSearchParams({ access_token: account.access_token });
  const byQuery = await call(`${driver.url}/whatsapp/${path}?${query}`, "POST", {
    ...base,
    text: { body: "by query" },
  });
  assert.equal(byQuery.status, 200);

  const messages = await driver.messages();
  assert.deepEqual(
    messages.map(({ kind, text }) => [kind, text]),
    [
      ...contents.map(([kind, , text]) => [kind, text]),
      ["contacts", null],
      ["text", "from a form"],
      ["text", "by query"],
    ],
  );
  assert.equal(messages[0]?.media?.caption, "look");
  assert.equal(messages[1]?.media?.filename, "a.pdf");
  assert.doesNotMatch(JSON.stringify(messages), new RegExp(account.access_token));
  assert.deepEqual(
    (
      await driver.graph("POST", path, {
        messaging_product: "whatsapp",
        status: "read",
        message_id: "wamid.Z",
        typing_indicator: { type: "text" },
      })
    ).body,
    { success: true },
  );
});

test("the same body twice makes two messages with two ids", async () => {
  await using driver = await openDriver();
  const ids = new Set<string>();
  for (let i = 0; i < 3; i++) ids.add((await driver.sendText(ana, "again")).body.messages[0].id);
  assert.equal(ids.size, 3);
  assert.equal((await driver.messages()).length, 3);
});

test("a send to a number that is not on WhatsApp is accepted, and fails later with 131026", async () => {
  await using receiver = await openReceiver();
  await using driver = await openDriver({ accounts: [{ ...account, webhook_url: receiver.url }] });
  assert.equal((await driver.sendText("+9991234567", "anyone?")).status, 200);
  await until("a status arrives", () => statuses(receiver).length === 1);
  const [failed] = statuses(receiver);
  assert.equal(failed.status, "failed");
  assert.equal(failed.errors[0].code, 131026);
  assert.equal(failed.conversation, undefined);
});

test("a dialled number may have another wa_id, and a user id may stand for a number", async () => {
  await using receiver = await openReceiver();
  await using driver = await openDriver({ accounts: [{ ...account, webhook_url: receiver.url }] });
  const dialled = await driver.sendText("+55 11 9 0000 0001", "oi");
  assert.deepEqual(dialled.body.contacts, [{ input: "+55 11 9 0000 0001", wa_id: "551100000001" }]);
  await until("a status with the phone number arrives", () =>
    statuses(receiver).some((status) => status.recipient_id === "551100000001"),
  );
  assert.equal((await driver.messages("?channel=whatsapp"))[0]?.to, "+5511900000001");

  const path = `${account.phone_number_id}/messages`;
  const userId = "US.13491208655302741918";
  const hidden = await driver.graph("POST", path, {
    messaging_product: "whatsapp",
    recipient: userId,
    text: { body: "x" },
  });
  assert.deepEqual(hidden.body.contacts, [{ input: userId, user_id: userId }]);
  await until("a status with the user's id arrives", () =>
    statuses(receiver).some((status) => status.recipient_user_id === userId && !status.recipient_id),
  );
  await driver.control("POST", "inbound", { channel: "whatsapp", from: userId, payload: "hi" });
  await until("the message arrives", () => inbound(receiver).length === 1);
  const [message] = inbound(receiver)[0].messages;
  assert.equal(message.from_user_id, userId);
  assert.equal(message.from, undefined);
});

test("by default a free-form message needs a message of the last day; a template does not", async () => {
  await using receiver = await openReceiver();
  const accounts = [{ ...account, webhook_url: receiver.url }];
  await using driver = await openDriver({ accounts, enforceWindow: undefined });
  const last = async (wamid: string) => {
    await until("a status of the message arrives", () => statuses(receiver).some((status) => status.id === wamid));
    await driver.idle();
    return statuses(receiver)
      .filter((status) => status.id === wamid)
      .at(-1);
  };
  const closed = (await driver.sendText(ana, "hello")).body.messages[0].id;
  assert.equal((await last(closed)).errors[0].code, 131047);
  const opener = await driver.sendText(ana, "", { type: "template", template: template("hello_world", "en_US") });
  assert.equal(opener.body.messages[0].message_status, "accepted");
  assert.equal((await last(opener.body.messages[0].id)).status, "read");
  await driver.control("POST", "inbound", { channel: "whatsapp", from: ana, payload: "oi" });
  assert.equal((await last((await driver.sendText(ana, "hello")).body.messages[0].id)).status, "read");
});

test("objects of the business can be read", async () => {
  await using driver = await openDriver();
  const templates = await driver.graph("GET", `${account.waba_id}/message_templates?limit=1`);
  assert.equal(templates.body.data[0].name, "hello_world");
  assert.equal(templates.body.data.length, 1);
  assert.equal((await driver.graph("GET", `${account.waba_id}/subscribed_apps`)).status, 200);
  assert.deepEqual((await driver.graph("POST", `${account.waba_id}/subscribed_apps`)).body, { success: true });
  const number = await driver.graph("GET", account.phone_number_id);
  assert.equal(number.body.display_phone_number, "+15550000001");
});

function template(name: string, code: string, parameters = 0): object {
  const filled = Array.from({ length: parameters }, () => ({ type: "text", text: "x" }));
  return { name, language: { code }, components: [{ type: "body", parameters: filled }] };
}

function buttons(count: number): object {
  const reply = (_: unknown, index: number) => ({ type: "reply", reply: { id: `b${index}`, title: "Yes" } });
  return { type: "button", body: { text: "Confirm?" }, action: { buttons: Array.from({ length: count }, reply) } };
}

function echoChallenge({ method, url }: Received) {
  return { status: 200, body: method === "GET" ? (url.searchParams.get("hub.challenge") ?? "") : "" };
}

function values(receiver: Receiver) {
  return receiver.received
    .filter((request) => request.method === "POST")
    .flatMap((request) => JSON.parse(request.body).entry)
    .flatMap((entry) => entry.changes)
    .map((change) => change.value);
}

function statuses(receiver: Receiver) {
  return values(receiver).flatMap((value) => value.statuses ?? []);
}

function inbound(receiver: Receiver) {
  return values(receiver).filter((value) => value.messages);
}

/** The signature is over ASCII bytes, as they came. */
function assertSigned({ headers, body }: Received): void {
  assert.match(body, /^[\x20-\x7e]*$/);
  assert.doesNotMatch(body, /[^\\]\//);
  const digest = (algorithm: string) => createHmac(algorithm, account.app_secret).update(body).digest("hex");
  assert.equal(headers["x-hub-signature-256"], `sha256=${digest("sha256")}`);
  assert.equal(headers["x-hub-signature"], `sha1=${digest("sha1")}`);
}
