import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import {
  type Conversation,
  type EventFrame,
  openClient,
  type RealtimeConnection,
  type RealtimeFrame,
} from "../client/src/client.ts";
import { closeAfterTests } from "../server/src/testing/close-after-tests.ts";
import { patient } from "../server/src/testing/patience.ts";
import { createTestDatabase } from "../server/src/testing/test-database.ts";
import { until } from "../server/src/testing/until.ts";
import { adminPassword, startTestHub, type TestHub } from "./src/harness.ts";

describe("the client's realtime connection", { timeout: patient(120_000) }, () => {
  let hub: TestHub;
  let chat: Conversation;
  const say = (text: string, of = hub) =>
    of.client.messages.send({ conversation_id: chat.conversation_id, payload: { type: "text", text } });

  const opened = closeAfterTests();
  before(async () => {
    hub = opened.use(await startTestHub());
    chat = await hub.group([hub.person("whatsapp"), hub.person("telegram"), hub.person("telegram")]);
  });

  test("events are delivered one at a time, and acknowledgements count", async () => {
    const bea = await hub.user("agent");
    await hub.client.conversations.addMember(chat.conversation_id, bea.user_id);
    await hub.settled();
    const events: EventFrame[] = [];
    let isBusy = false;
    await using live = bea.client.realtime.connect({
      async onEvent(event) {
        assert.ok(!isBusy, "the event before has been handled");
        isBusy = true;
        await new Promise(setImmediate);
        isBusy = false;
        events.push(event);
      },
    });
    await until("it is open", () => live.state === "open");
    await until("it knows where it is", () => live.cursor !== null);
    const from = live.cursor!;
    const { seq } = await say("hello");
    const statusInApp = (status: string) =>
      events.some((event) => {
        return event.type === "MESSAGE_STATUS" && event.recipient_id === bea.user_id && event.status === status;
      });
    await until("it is delivered in the app", () => statusInApp("delivered"));
    live.read(chat.conversation_id, seq);
    await until("it is read in the app", () => statusInApp("read"));
    await hub.settled();
    const feed = await hub.events(from);
    await until("all has come", () => events.length === feed.length);
    assert.deepEqual(events, feed);
    await until("all was handled", () => live.cursor === feed.at(-1)!.cursor);
    const page = await bea.client.events.list({ after: from, limit: 200 });
    assert.deepEqual(page.data, feed);
  });

  test("the client reconnects to a restarted hub and misses no event", async () => {
    await using database = await createTestDatabase();
    const env = { DATABASE_URL: database.url };
    const first = await startTestHub({ env });
    const { port } = new URL(first.url);
    const group = await first.group([first.person("whatsapp"), first.person("telegram"), first.person("telegram")]);
    const client = openClient({ url: first.url, credential: { username: "admin", password: adminPassword } });
    const states: string[] = [];
    const events: EventFrame[] = [];
    await using live = client.realtime.connect({
      onEvent: (event) => void events.push(event),
      onState: (state) => void states.push(state),
    });
    await until("it knows where it is", () => live.cursor !== null);
    const from = live.cursor!;
    const speak = (of: TestHub, text: string) =>
      of.client.messages.send({ conversation_id: group.conversation_id, payload: { type: "text", text } });
    await speak(first, "before");
    await first.settled();
    await first[Symbol.asyncDispose]();
    await until("it noticed", () => live.state !== "open");

    await using second = await startTestHub({ env: { ...env, PORT: port } });
    await speak(second, "while away");
    await until("it reconnected", () => live.state === "open");
    await speak(second, "after");
    await second.settled();
    const feed = await second.events(from);
    await until("all has come", () => events.length >= feed.length);
    assert.deepEqual(events, feed);
    assert.deepEqual([states[0], states.at(-1)], ["connecting", "open"]);
    assert.ok(states.includes("waiting"));
  });

  test("an expired session is renewed, and the stream continues", async () => {
    const carl = await hub.user("agent");
    const states: string[] = [];
    await using live = carl.client.realtime.connect({ onEvent: () => {}, onState: (state) => void states.push(state) });
    await until("it knows where it is", () => live.cursor !== null);
    const { cursor } = live;
    const before = states.length;
    await carl.client.auth.logOut();
    // It may reconnect before a look at its state finds it closed.
    await until("it reconnected", () => states.length > before && states.at(-1) === "open");
    await say("still there?");
    await until("it receives events", () => live.cursor !== cursor);
  });

  test("a slow program gets every event, and the client buffers no more than its limit", async () => {
    const live = hub.admin.realtime.connect({ queueSize: 5 });
    await until("it is open", () => live.state === "open");
    const frames = live[Symbol.asyncIterator]();
    await say("slow 0");
    const first = (await frames.next()).value as RealtimeFrame;
    for (let number = 1; number <= 20; number += 1) await say(`slow ${number}`);
    await hub.settled();
    await until("it is paused", () => live.state === "waiting");
    const rest = await hub.events(first.cursor);
    const seen: RealtimeFrame[] = [];
    while (seen.length < rest.length) {
      const { value } = await frames.next();
      if ("cursor" in value && value.type !== "PRESENCE") seen.push(value);
    }
    assert.deepEqual(seen, rest);
    live.close();
    await live.ended;
    assert.equal((await frames.next()).done, true);
  });

  test("a cursor of another feed gets a gap, and the stream continues from there", async () => {
    const frames: RealtimeFrame[] = [];
    for await (const frame of hub.admin.realtime.connect({ cursor: "999999999" })) {
      if (frame.type === "PRESENCE") continue;
      frames.push(frame);
      if (frames.length === 1) await say("after the gap");
      if (frames.length === 2) break;
    }
    assert.deepEqual(
      frames.map((frame) => [frame.type, "reason" in frame ? frame.reason : null]),
      [
        ["GAP", "unknown"],
        ["NEW_MESSAGE", null],
      ],
    );
  });

  test("the client stops reconnecting when it cannot succeed", async () => {
    const ends = async (live: RealtimeConnection) => {
      const error = await live.ended.then(
        () => null,
        (reason) => reason,
      );
      assert.equal(live.state, "closed");
      return error;
    };
    const key = await hub.admin.apiKeys.create({ name: "short", scopes: ["*"] });
    const live = hub.clientFor(key.key).realtime.connect({ onEvent: () => {} });
    await until("it is open", () => live.state === "open");
    await hub.admin.apiKeys.revoke(key.api_key_id);
    assert.equal((await ends(live)).name, "RealtimeEnded");
    const narrow = await hub.admin.apiKeys.create({ name: "narrow", scopes: ["messages:read"] });
    const forbidden = hub.clientFor(narrow.key).realtime.connect({ onEvent: () => {} });
    assert.equal((await ends(forbidden)).code, "FORBIDDEN");
    // Otherwise its handler throws before the socket is seen open.
    await hub.settled();
    const failing = hub.admin.realtime.connect({
      onEvent() {
        throw new Error("the program's own");
      },
    });
    await until("it is open", () => failing.state === "open");
    await say("trouble");
    assert.equal((await ends(failing)).message, "the program's own");
  });
});
