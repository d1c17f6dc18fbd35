import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import type { Conversation, User } from "../client/src/client.ts";
import { maxFrameBytes } from "../server/src/realtime/sockets.ts";
import { closeAfterTests } from "../server/src/testing/close-after-tests.ts";
import { patient } from "../server/src/testing/patience.ts";
import { until } from "../server/src/testing/until.ts";
import { startTestHub, type TestHub } from "./src/harness.ts";
import { listen, positionOf, UpgradeRefused } from "./src/listener.ts";
import type { Person } from "./src/people.ts";

describe("sockets", () => {
  let hub: TestHub;
  let ana: Person;
  let bea: User & { client: TestHub["client"] };
  let chat: Conversation;
  const adminToken = async () => (await hub.logIn("admin")).access_token;

  const opened = closeAfterTests();
  before(async () => {
    hub = opened.use(await startTestHub());
    ana = hub.person("whatsapp", "Ana");
    bea = await hub.user("member", "Bea");
    chat = await hub.group([ana, bea.user_id, hub.person("telegram")]);
  });

  test("a member gets the messages of its conversations, and the delivery in its app is delivered, then read", async () => {
    await using socket = await listen({ url: hub.url, token: (await hub.logIn(bea.username)).access_token });
    const elsewhere = await hub.group([ana, hub.person("telegram"), hub.person("telegram")]);
    await hub.client.messages.send({
      conversation_id: elsewhere.conversation_id,
      payload: { type: "text", text: "no" },
    });
    const { conversation_id } = chat;
    const { message_id } = await hub.client.messages.send({ conversation_id, payload: { type: "text", text: "oi" } });
    const said = await socket.frame(
      "message",
      ({ type, message_id: id }) => type === "NEW_MESSAGE" && id === message_id,
    );
    assert.equal(said.content, "oi");
    const inApp =
      (status: string) =>
      ({ type, channel, status: is, recipient_id }: Record<string, unknown>) =>
        type === "MESSAGE_STATUS" && channel === "app" && is === status && recipient_id === bea.user_id;
    await socket.frame("delivery", inApp("delivered"));
    socket.say({ type: "read", conversation_id, seq: 1 });
    await socket.frame("reading", inApp("read"));
    assert.ok(!socket.frames.some(({ conversation_id: id }) => id === elsewhere.conversation_id));
    const cursors = socket.events().map(({ cursor }) => positionOf(cursor));
    assert.deepEqual(
      cursors,
      cursors.toSorted((a, b) => a - b),
    );
  });

  test("a client that reconnects gets the events that it missed, once and in order, before new ones", async () => {
    const token = await adminToken();
    const first = await listen({ url: hub.url, token });
    const { conversation_id } = chat;
    const say = (text: string) => hub.client.messages.send({ conversation_id, payload: { type: "text", text } });
    await say("received");
    const received = await first.frame("it", ({ content }) => content === "received");
    await first[Symbol.asyncDispose]();
    await say("missed");
    await hub.settled();
    for (const by of ["frame", "address"] as const) {
      const how = by === "address" ? { cursor: received.cursor } : { starts: false };
      await using again = await listen({ url: hub.url, token, ...how });
      if (by === "frame") again.say({ type: "resume", cursor: received.cursor });
      const resumed = await again.frame("RESUMED", ({ type }) => type === "RESUMED");
      assert.equal(resumed.from, received.cursor);
      assert.equal(resumed.count, again.events().length);
      await say(`new ${by}`);
      await again.frame("new one", ({ content }) => content === `new ${by}`);
      await hub.settled();
      const feed = await hub.events(received.cursor);
      await until("the socket has all events", () => again.events().length === feed.length);
      assert.deepEqual(again.events(), feed);
    }
  });

  test("a socket is closed within two seconds of the logout, the disabling of its user or the revocation of its key", async () => {
    const carl = await hub.user("agent", "Carl");
    const session = await hub.logIn(carl.username);
    const socket = await listen({ url: hub.url, token: session.access_token });
    await hub.call("POST", "/auth/logout", session.access_token);
    assert.equal((await within(2_000, socket.closed)).code, 4401);
    const other = await listen({ url: hub.url, token: (await hub.logIn(carl.username)).access_token });
    await hub.admin.users.change(carl.user_id, { disabled: true });
    assert.equal((await within(2_000, other.closed)).code, 4401);
    const key = await hub.admin.apiKeys.create({ name: "short", scopes: ["*"] });
    const program = await listen({ url: hub.url, token: key.key });
    await hub.admin.apiKeys.revoke(key.api_key_id);
    assert.equal((await within(2_000, program.closed)).code, 4401);
  });

  test("the handshake accepts a token in three places, and refuses unknown callers and pages of other sites", async () => {
    const token = await adminToken();
    for (const tokenBy of ["header", "query", "protocol"] as const) {
      await using socket = await listen({ url: hub.url, token, tokenBy });
      assert.equal(socket.socket.protocol, tokenBy === "protocol" ? "bearer" : "");
    }
    const refused = async (options: Partial<Parameters<typeof listen>[0]>) => {
      const error = await listen({ url: hub.url, token, ...options }).catch((cause) => cause);
      assert.ok(error instanceof UpgradeRefused, String(error));
      return [error.status, error.body.error.code];
    };
    assert.deepEqual(await refused({ token: "nonsense" }), [401, "AUTH_INVALID"]);
    assert.deepEqual(await refused({ headers: { origin: "https://evil.example" } }), [403, "FORBIDDEN"]);
    const narrow = await hub.admin.apiKeys.create({ name: "narrow", scopes: ["messages:read"] });
    assert.deepEqual(await refused({ token: narrow.key }), [403, "FORBIDDEN"]);
    await using own = await listen({ url: hub.url, token, headers: { origin: hub.url } });
    assert.equal(own.hello.heartbeat_seconds, 30);
  });

  test("members who share a conversation get typing and presence of each other", async () => {
    await using member = await listen({ url: hub.url, token: (await hub.logIn(bea.username)).access_token });
    member.say({ type: "ping" });
    await member.frame("pong", ({ type }) => type === "PONG");
    const dora = await hub.user("agent", "Dora");
    const { conversation_id } = await hub.group([bea.user_id, dora.user_id, ana]);
    await using agent = await listen({ url: hub.url, token: (await hub.logIn(dora.username)).access_token });
    const online = ({ type, user_id, online: is }: Record<string, unknown>) =>
      type === "PRESENCE" && is === true && user_id === dora.user_id;
    await member.frame("presence", online);
    agent.say({ type: "typing", conversation_id });
    const typing = await member.frame("typing", ({ type }) => type === "TYPING");
    assert.deepEqual([typing.conversation_id, typing.user_id], [conversation_id, dora.user_id]);
    assert.ok(!agent.frames.some(({ type }) => type === "TYPING"));
    await agent[Symbol.asyncDispose]();
    await member.frame(
      "absence",
      ({ type, user_id, online: is }) => type === "PRESENCE" && !is && user_id === dora.user_id,
    );
  });

  // The disaster: a client ignores an ERROR, and with it that events are missing.
  test("an invalid cursor in the URL is a gap, like one of another feed", async () => {
    await using socket = await listen({ url: hub.url, token: await adminToken(), cursor: "nonsense" });
    await socket.frame("live", ({ type }) => type === "LIVE");
    // The sockets of earlier tests may go offline meanwhile.
    const ofResume = socket.frames.filter(({ type }) => type !== "PRESENCE");
    const started = ofResume.map(({ type, reason }) => (reason === undefined ? type : `${type} ${reason}`));
    assert.deepEqual(started, ["HELLO", "RESUMING", "GAP unknown", "RESUMED", "LIVE"]);
  });

  test("the response to an invalid frame says what is wrong", async () => {
    await using socket = await listen({ url: hub.url, token: await adminToken() });
    const wrong: [string, string][] = [
      ["{", "VALIDATION_ERROR"],
      ["[]", "VALIDATION_ERROR"],
      ['{"type":"fly"}', "VALIDATION_ERROR"],
      ['{"type":"ping","more":1}', "VALIDATION_ERROR"],
      ['{"type":"read","conversation_id":"x","seq":1}', "VALIDATION_ERROR"],
      [`{"type":"read","conversation_id":"${crypto.randomUUID()}","seq":1}`, "RESOURCE_NOT_FOUND"],
    ];
    for (const [text, code] of wrong) {
      const errors = () => socket.frames.filter(({ type }) => type === "ERROR");
      const before = errors().length;
      socket.socket.send(text);
      await until("the response arrives", () => errors().length > before);
      assert.equal(errors().at(-1)!.code, code, text);
    }
    for (const cursor of ["999999999", "abc"]) {
      socket.say({ type: "resume", cursor });
      await socket.frame("resuming", ({ type, from }) => type === "RESUMING" && from === cursor);
      const gaps = () => socket.frames.filter(({ type, reason }) => type === "GAP" && reason === "unknown");
      await until("it is a gap", () => gaps().length === (cursor === "abc" ? 2 : 1));
    }
    socket.say({ type: "ping" });
    await socket.frame("pong", ({ type }) => type === "PONG");
    socket.socket.send("x".repeat(maxFrameBytes + 1));
    assert.equal((await socket.closed).code, 1009);
  });
});

async function within<Value>(ms: number, promise: Promise<Value>): Promise<Value> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`It took more than ${patient(ms)} ms.`)), patient(ms));
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
