import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { before, describe, test } from "node:test";
import { isDeepStrictEqual } from "node:util";
import { eventNames, frameTypes, liveEvents, testEvent } from "../contract/src/events.ts";
import { closeAfterTests } from "../server/src/testing/close-after-tests.ts";
import { until } from "../server/src/testing/until.ts";
import { startTestHub, type TestHub } from "./src/harness.ts";
import { type Frame, feedTypes, type Listener, listen } from "./src/listener.ts";
import { codesIn, readTable } from "./src/markdown-tables.ts";
import { openApi, pointerTo, schemaError, withoutReferences } from "./src/openapi.ts";
import type { Person } from "./src/people.ts";
import { wrongTimes } from "./src/times.ts";
import { startWebhookProgram, type WebhookProgram } from "./src/webhook-program.ts";
import type { Received } from "./src/webhook-receiver.ts";

/** One event of each type happens; webhooks, feed and a socket must show it as in one list. */
describe("one vocabulary of events", () => {
  let hub: TestHub;
  let program: WebhookProgram;
  let socket: Listener;
  let feed: Frame[];
  let webhooks: Received[];
  let ana: Person;
  /** What is asked of the events of Ana's messages: the platform's ids of hers, and the ids of those to her. */
  const said = { greeting: "", thanks: "" };
  const sent = { read: "", failed: "" };
  const payload = { type: "text" as const, text: "oi" };

  const opened = closeAfterTests();
  before(async () => {
    program = opened.use(await startWebhookProgram());
    hub = opened.use(await startTestHub({ env: { WEBHOOKS_ALLOW_PRIVATE: "true", TASKS_PER_USER: "1" } }));
    socket = opened.use(await listen({ url: hub.url, token: (await hub.logIn("admin")).access_token }));
    const { webhookEndpoints } = hub.client;
    const all = await webhookEndpoints.create({ url: program.urlOf("all"), events: ["*"] });
    await program.behave("all", all.secret);
    const statuses = await webhookEndpoints.create({ url: program.urlOf("statuses"), events: ["message.status"] });
    await program.behave("statuses", statuses.secret);
    await webhookEndpoints.test(all.webhook_endpoint_id);
    const other = await webhookEndpoints.create({ url: program.urlOf("other"), events: ["message.received"] });
    await webhookEndpoints.change(other.webhook_endpoint_id, { status: "disabled" });
    await webhookEndpoints.change(other.webhook_endpoint_id, { status: "enabled" });
    await webhookEndpoints.remove(other.webhook_endpoint_id);

    const { channel_account_id: bot } = await hub.account("telegram");
    await hub.client.channelAccounts.change(bot, { status: "disabled" });
    await hub.client.channelAccounts.change(bot, { status: "active" });
    const bot_token = "700000001:A-NEW-telegram-token-of-35-letters_";
    await hub.simulator.changeAccount("telegram", { bot_token });
    await hub.client.messages.send({ to: hub.person("telegram").address, payload });
    const isRefused = async () => (await hub.client.channelAccounts.get(bot)).status === "needs_attention";
    await until("the bot needs attention", isRefused);
    await hub.client.channelAccounts.change(bot, { credentials: { bot_token } });

    ana = hub.person("whatsapp", "Ana");
    said.greeting = await ana.writes("bom dia");
    const read = await hub.client.messages.send({ to: ana.address, payload });
    sent.read = read.message_id;
    await hub.status(read.message_id, "read");
    said.thanks = await ana.writes("obrigada", { replyTo: (await ana.received()).at(-1)!.provider_message_id });
    await hub.client.conversations.change(read.conversation_id, { settings: { author_prefix: false } });
    await hub.simulator.break({ channel: "whatsapp", fault: "permanent", count: 1 });
    const failed = await hub.client.messages.send({ to: ana.address, payload, reply_to: read.message_id });
    sent.failed = failed.message_id;
    await hub.status(failed.message_id, "failed");
    const extract = async (filename: string, text: string) => {
      const { file_id } = await hub.client.files.upload(new Blob([text]), { filename });
      return (await hub.client.documents.extract(file_id)).task_id;
    };
    const tasks = [await extract("broken.pdf", "%PDF-1.7 and no more"), await extract("notes.txt", "oi")];
    await hub.client.tasks.cancel(await extract("behind them.txt", "tchau"));
    for (const id of tasks) await until("the task ends", async () => (await hub.client.tasks.get(id)).finished_at);
    const picture = { type: "file", content_type: "image/png" } as const;
    for (const content of [undefined, Buffer.from("MZ not a picture").toString("base64")])
      await ana.writes({ ...picture, filename: "a.png", ...(content && { content }) });
    const described = await until("a file is described", async () =>
      (await hub.events("0")).find(({ event }) => event === "file.described"),
    );
    await hub.client.files.remove((described.file as { file_id: string }).file_id);
    const bea = await hub.user("agent", "Bea");
    await using other_socket = await listen({ url: hub.url, token: (await hub.logIn(bea.username)).access_token });
    other_socket.say({ type: "typing", conversation_id: read.conversation_id });
    await socket.frame("typing", ({ type }) => type === "TYPING");
    await socket.frame("presence", ({ type }) => type === "PRESENCE");
    await hub.settled();
    feed = await hub.events("0");
    await until("the socket has it all", () => socket.events().length >= feed.length);
    webhooks = await program.has("all", "all of it", (received) => received.length >= feed.length - 1);
  });

  const typesOf = (frames: readonly Frame[]) => [...new Set(frames.map(({ event }) => String(event)))].sort();

  test("the feed has every type in its frame", () => {
    assert.deepEqual(typesOf(feed), [...eventNames].sort());
    for (const { event, type } of feed) assert.equal(type, frameTypes[event as keyof typeof frameTypes]);
    assert.deepEqual(new Set(Object.values(frameTypes)), feedTypes);
  });

  test("a socket has the same events, and the live frames", () => {
    assert.deepEqual(socket.events().map(asWritten), feed.map(asWritten));
    const live = socket.frames.filter(({ type }) => type in liveEvents);
    assert.deepEqual(typesOf(live), Object.values(liveEvents).sort());
  });

  test("webhooks have the same types and fields, except those of frames", () => {
    const types = new Set(webhooks.map(({ type }) => type));
    assert.deepEqual([...types].sort(), [...eventNames, testEvent].sort());
    for (const { type, timestamp, data } of webhooks) {
      if (type === testEvent) continue;
      const isIt = (frame: Frame) => {
        const { event, at, timestamp: _ms, type: _type, cursor: _cursor, ...fields } = asWritten(frame);
        return event === type && at === timestamp && isDeepStrictEqual(fields, asWritten(data));
      };
      assert.ok(feed.some(isIt), `${type} ${JSON.stringify(data)}`);
    }
  });

  test("an endpoint that asks for message.status gets the five types of deliveries", async () => {
    const five = eventNames.filter((name) => frameTypes[name] === "MESSAGE_STATUS");
    const count = feed.filter(({ type }) => type === "MESSAGE_STATUS").length;
    const received = await program.has("statuses", "all of them", (all) => all.length >= count);
    assert.deepEqual([...new Set(received.map(({ type }) => type))].sort(), [...five].sort());
    const replay = await hub.client.webhookEndpoints.list();
    assert.ok(replay.data.some(({ events }) => events.includes("message.status")));
  });

  test("every time is ISO 8601 in UTC with milliseconds, except the timestamp of NEW_MESSAGE", () => {
    const wrong = [
      ...[...socket.frames, ...feed].flatMap((frame) => wrongTimes(frame, String(frame.type))),
      ...webhooks.flatMap(({ type, timestamp, data }) => wrongTimes({ timestamp, data }, `webhook ${type}`)),
    ];
    assert.deepEqual(wrong, []);
  });

  // A bot needs no second call.
  test("message.received has the author, the address, the account, the time and the quoted message", async () => {
    const { channel_account_id } = await hub.account("whatsapp");
    const of = (id: string) => feed.find((frame) => frame.provider_message_id === id)!;
    const { channel, address } = ana;
    for (const [id, reply_to] of [
      [said.greeting, null],
      [said.thanks, sent.read],
    ] as const) {
      const expected = {
        event: "message.received",
        channel,
        channel_account_id,
        address,
        sender_name: "Ana",
        reply_to,
      };
      assert.partialDeepStrictEqual(of(id), expected);
      assert.ok(Math.abs(Date.parse(String(of(id).sent_at)) - Date.parse(String(of(id).at))) < 3_600_000);
    }
  });

  test("a status has the account, the address, the sender and the quoted message", async () => {
    const { channel_account_id } = await hub.account("whatsapp");
    const { channel, address } = ana;
    for (const [message_id, reply_to] of [
      [sent.read, null],
      [sent.failed, sent.read],
    ] as const) {
      const frames = feed.filter((frame) => frame.message_id === message_id);
      const { sender_name } = frames.find(({ type }) => type === "NEW_MESSAGE")!;
      assert.ok(sender_name);
      const statuses = frames.filter(({ type }) => type === "MESSAGE_STATUS");
      assert.ok(statuses.length >= 2);
      const expected = { channel, channel_account_id, address, sender_name, reply_to };
      for (const frame of statuses) assert.partialDeepStrictEqual(frame, expected);
    }
    const { deliveries } = await hub.client.messages.get(sent.read);
    const frame = feed.find(({ event, message_id }) => event === "message.read" && message_id === sent.read)!;
    assert.equal(frame.provider_message_id, deliveries[0]!.provider_message_id);
  });

  test("a status has the time when the platform accepted the message and the time of the status", () => {
    const byStatus = (status: string) =>
      feed.find(({ channel, status: is }) => channel === "whatsapp" && is === status)!;
    assert.deepEqual([byStatus("in_transit").sent_at, byStatus("in_transit").provider_message_id], [null, null]);
    for (const status of ["sent", "delivered", "read"]) assert.ok(byStatus(status).sent_at, status);
    for (const status of ["delivered", "read"]) assert.ok(byStatus(status).platform_at, status);
    assert.equal(byStatus("failed").platform_at, null);
  });

  test("openapi.json describes each frame and each webhook, field by field", () => {
    const { components, webhooks: described } = withoutReferences<Described>(openApi);
    for (const frame of feed) {
      const name = `${wordOf(frame.type)}Frame`;
      const of = components.schemas[name]!;
      assert.deepEqual(Object.keys(frame).sort(), Object.keys(of.properties).sort(), name);
      assert.equal(schemaError(pointerTo("components", "schemas", name), frame), null, JSON.stringify(frame));
    }
    assert.deepEqual(Object.keys(described).sort(), [...eventNames, testEvent].sort());
    for (const { type, timestamp, data } of webhooks) {
      const place = ["post", "requestBody", "content", "application/json", "schema"];
      const { schema: of } = described[type!]!.post.requestBody.content["application/json"];
      assert.deepEqual(Object.keys(data).sort(), Object.keys(of.properties.data!.properties).sort(), type!);
      const body = { type, timestamp, data };
      assert.equal(schemaError(pointerTo("webhooks", type!, ...place), body), null, JSON.stringify(body));
    }
  });

  test("the guide's table has every type with its frame", () => {
    const guide = readFileSync(new URL("../docs/guides/realtime.md", import.meta.url), "utf8");
    const rows = readTable(guide, "type of event").flatMap((row) =>
      codesIn(row["type of event"]!).map((name): [string, string | undefined] => [name, codesIn(row.frame!)[0]]),
    );
    const live = Object.entries(liveEvents).map(([frame, name]) => [name, frame]);
    const expected = [...Object.entries(frameTypes), ...live, [testEvent, undefined]];
    assert.deepEqual(rows.sort(), expected.sort());
  });
});

interface Shape {
  properties: Record<string, Shape>;
}
interface Described {
  components: { schemas: Record<string, Shape> };
  webhooks: Record<string, { post: { requestBody: { content: { "application/json": { schema: Shape } } } } }>;
}

/** `NEW_MESSAGE` → `NewMessage`. */
function wordOf(type: string): string {
  return type.toLowerCase().replaceAll(/(?:^|_)(\w)/g, (_all, letter: string) => letter.toUpperCase());
}

/** Frames show conversations as they are now, so only the id is compared. */
function asWritten<Fields extends Record<string, unknown>>(fields: Fields): Fields {
  const { conversation_id } = (fields.conversation ?? {}) as { conversation_id?: string };
  const { file_id } = (fields.file ?? {}) as { file_id?: string };
  return { ...fields, conversation: conversation_id, file: file_id };
}
