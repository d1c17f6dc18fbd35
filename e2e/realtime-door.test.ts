/** Which sockets and streams are accepted, what they accept from clients, and how they are closed. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { request } from "node:http";
import { connect } from "node:net";
import { before, describe, test } from "node:test";
import { WebSocket } from "ws";
import type { Conversation } from "../client/src/client.ts";
import { systemClock } from "../server/src/lib/clock.ts";
import { maxFrameBytes } from "../server/src/realtime/sockets.ts";
import { closeAfterTests } from "../server/src/testing/close-after-tests.ts";
import { until } from "../server/src/testing/until.ts";
import { openEventStreamParser } from "./src/event-stream.ts";
import { startTestHub, type TestHub } from "./src/harness.ts";
import { type Frame, feedTypes, listen, positionOf, UpgradeRefused } from "./src/listener.ts";
import { anotherWorkspace } from "./src/workspace.ts";

const isOfTheFeed = ({ type }: Frame) => feedTypes.has(type);
const key = "dGhlIHNhbXBsZSBub25jZQ==";

describe("handshakes, frames and streams", () => {
  let hub: TestHub;
  let token: string;
  let chat: Conversation;
  const say = (text: string, conversation_id = chat.conversation_id) =>
    hub.client.messages.send({ conversation_id, payload: { type: "text", text } });

  const opened = closeAfterTests();
  before(async () => {
    hub = opened.use(await startTestHub());
    token = (await hub.logIn("admin")).access_token;
    chat = await hub.group([hub.person("whatsapp"), hub.person("telegram"), hub.person("whatsapp")]);
  });

  const upgrade = (start: string, headers: string[] = []) => [
    start,
    `Host: ${new URL(hub.url).host}`,
    `Authorization: Bearer ${token}`,
    "Upgrade: websocket",
    "Connection: Upgrade",
    ...headers,
  ];
  const sound = ["Sec-WebSocket-Version: 13", `Sec-WebSocket-Key: ${key}`];

  test("a valid upgrade gets 101, also when it is written by hand", async () => {
    const { answer } = await exchange(hub, upgrade("GET /ws HTTP/1.1", sound), { isSound: true });
    assert.match(answer, /^HTTP\/1\.1 101 /);
    assert.match(answer, /sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=/i);
    assert.doesNotMatch(answer, /sec-websocket-extensions/i);
  });

  test("invalid upgrades are refused and disconnected", async () => {
    const attacks: [name: string, lines: string[], status: RegExp][] = [
      ...["/ws/", "//ws", "/ws%2f", "/%77s", "/WS", "/ws/../ws", "/ws;x", "/", "/v1/events", "/ws/tasks", "/ws\\"].map(
        (path): [string, string[], RegExp] => [path, upgrade(`GET ${path} HTTP/1.1`, sound), /^HTTP\/1\.1 4\d\d/],
      ),
      ["HTTP/1.0", upgrade("GET /ws HTTP/1.0", sound), /^HTTP\/1\.1 400/],
      ["no version", upgrade("GET /ws HTTP/1.1", [sound[1]!]), /^HTTP\/1\.1 4\d\d/],
      ["version 12", upgrade("GET /ws HTTP/1.1", ["Sec-WebSocket-Version: 12", sound[1]!]), /^HTTP\/1\.1 4\d\d/],
      ["no key", upgrade("GET /ws HTTP/1.1", [sound[0]!]), /^HTTP\/1\.1 400/],
      ["a short key", upgrade("GET /ws HTTP/1.1", [sound[0]!, "Sec-WebSocket-Key: c2hvcnQ="]), /^HTTP\/1\.1 400/],
      ["an invalid key", upgrade("GET /ws HTTP/1.1", [sound[0]!, "Sec-WebSocket-Key: ????"]), /^HTTP\/1\.1 400/],
      ["POST", upgrade("POST /ws HTTP/1.1", sound), /^HTTP\/1\.1 4\d\d/],
      [
        "another protocol",
        upgrade("GET /ws HTTP/1.1", sound).map((line) => line.replace("websocket", "h2c")),
        /^HTTP\/1\.1 4\d\d/,
      ],
      ["two credentials", upgrade("GET /ws HTTP/1.1", [...sound, "Authorization: Bearer other"]), /^HTTP\/1\.1 401/],
      [
        "no credential",
        upgrade("GET /ws HTTP/1.1", sound).filter((line) => !line.startsWith("Auth")),
        /^HTTP\/1\.1 401/,
      ],
      [
        "two hosts",
        upgrade("GET /ws HTTP/1.1", [...sound, "Host: other"]),
        /^HTTP\/1\.1 400[\s\S]*host was sent more than once/,
      ],
      ["a query that is not UTF-8", upgrade("GET /ws?cursor=%FF HTTP/1.1", sound), /^HTTP\/1\.1 400[\s\S]*UTF-8/],
      ["large headers", upgrade("GET /ws HTTP/1.1", [...sound, `X-Large: ${"x".repeat(20_000)}`]), /^HTTP\/1\.1 431/],
      [
        "a page of another site",
        upgrade("GET /ws HTTP/1.1", [...sound, "Origin: https://evil.example"]),
        /^HTTP\/1\.1 403/,
      ],
    ];
    for (const [name, lines, status] of attacks) {
      const { answer } = await exchange(hub, lines);
      assert.match(answer, status, name);
      assert.doesNotMatch(answer, /101 Switching/, name);
    }
    assert.equal((await fetch(`${hub.url}/healthz`)).status, 200);
  });

  test("the response to GET /ws without an upgrade says what is missing", async () => {
    const answer = await fetch(`${hub.url}/ws`, { headers: { authorization: `Bearer ${token}` } });
    const { error } = (await answer.json()) as { error: { code: string; message: string } };
    assert.deepEqual([answer.status, error.code], [400, "VALIDATION_ERROR"]);
    assert.match(error.message, /not a WebSocket upgrade.* proxy/);
  });

  test("no token is ever in the log", async () => {
    for (const tokenBy of ["query", "protocol", "header"] as const) {
      await using socket = await listen({ url: hub.url, token, tokenBy });
      socket.say({ type: "ping" });
      await socket.frame("pong", ({ type }) => type === "PONG");
      await listen({ url: hub.url, token: `${token}x`, tokenBy }).catch(() => {});
    }
    const [, claims, signature] = token.split(".");
    for (const secret of [claims!, signature!]) assert.ok(!hub.log.lines.some((line) => line.includes(secret)));
  });

  test("a client that sends too many frames gets an error and is disconnected with 4429, and one that pauses is not", async () => {
    await using socket = await listen({ url: hub.url, token });
    for (let frame = 0; frame < 60; frame += 1) socket.say({ type: "ping" });
    await socket.frame("the error", ({ type, code }) => type === "ERROR" && code === "RATE_LIMIT_EXCEEDED");
    assert.equal(socket.socket.readyState, socket.socket.OPEN);
    // Slow enough that a frame is accepted now and then.
    const flooding = setInterval(() => {
      for (let frame = 0; frame < 5; frame += 1) socket.socket.send('{"type":"ping"}', () => {});
    }, 20);
    const { code } = await socket.closed.finally(() => clearInterval(flooding));
    assert.equal(code, 4429);
  });

  // The disaster: sockets bypass the rate limits of requests.
  test("frames that do what a request does count towards the limit of the API key, or of the user over all sockets", async () => {
    const rate_limit = { per_second: 0.01, burst: 3 };
    const parent = await hub.admin.apiKeys.create({ name: "slow", scopes: ["*"], rate_limit });
    const { user_id, workspace_id } = await hub.admin.auth.me();
    const { conversation_id } = await hub.group([user_id, workspace_id, hub.person("whatsapp")]);
    const typing = { type: "typing", conversation_id };
    const accepted = async (credential: string, sockets: number, frames: object[]) => {
      const listeners = await Promise.all(
        Array.from({ length: sockets }, () => listen({ url: hub.url, token: credential })),
      );
      for (const frame of frames) for (const listener of listeners) listener.say(frame);
      for (const listener of listeners) listener.say({ type: "ping" });
      for (const listener of listeners) await listener.frame("pong", ({ type }) => type === "PONG");
      const errors = listeners.flatMap(({ frames }) => frames.filter(({ type }) => type === "ERROR"));
      for (const listener of listeners) listener.cut();
      assert.deepEqual([...new Set(errors.map(({ code }) => code))], ["RATE_LIMIT_EXCEEDED"]);
      return sockets * frames.length - errors.length;
    };
    // One request was made: for the child.
    const child = await hub.clientFor(parent.key).apiKeys.create({ name: "child", scopes: ["*"] });
    assert.equal(await accepted(child.key, 2, [typing, typing]), 2);
    await assert.rejects(hub.clientFor(parent.key).conversations.read(conversation_id, 0), {
      code: "RATE_LIMIT_EXCEEDED",
    });
    const many = Array.from({ length: 20 }, () => typing);
    const taken = await accepted(token, 5, many);
    assert.ok(taken >= 50 && taken < 100, `${taken}`);
  });

  test("binary frames are refused, and a frame that is too long closes the socket", async () => {
    await using socket = await listen({ url: hub.url, token });
    socket.socket.send(Buffer.from('{"type":"ping"}'));
    await socket.frame("an error", ({ type, code }) => type === "ERROR" && code === "VALIDATION_ERROR");
    assert.ok(!socket.frames.some(({ type }) => type === "PONG"));
    socket.socket.send('{"type":"ping"}'.padStart(maxFrameBytes));
    await socket.frame("pong", ({ type }) => type === "PONG");
    socket.socket.send('{"type":"ping"}'.padStart(maxFrameBytes + 1));
    assert.equal((await socket.closed).code, 1009);
  });

  test("a changed role applies within two seconds: an agent who becomes a member sees only what members see, and back", async () => {
    const { user_id, username } = await hub.user("agent");
    await using socket = await listen({ url: hub.url, token: (await hub.logIn(username)).access_token });
    const receives = async (text: string) => {
      await say(text);
      const { cursor } = (await hub.events("0")).at(-1)!;
      // All events of that message that it gets came before the response.
      await until("the hub has responded to it", () => {
        socket.say({ type: "ping" });
        return socket.frames.some(({ type, cursor: at }) => type === "PONG" && positionOf(at) >= positionOf(cursor));
      });
      return socket.frames.some(({ content }) => content === text);
    };
    assert.equal(await receives("as an agent"), true);
    let said = 0;
    const becomes = async (role: "member" | "agent", isReceiving: boolean) => {
      await hub.admin.users.change(user_id, { role });
      await until(
        `events for a ${role}`,
        async () => (await receives(`to a ${role} ${++said}`)) === isReceiving,
        2_000,
      );
      for (let again = 0; again < 3; again += 1)
        assert.equal(await receives(`to a ${role} still ${++said}`), isReceiving);
    };
    await becomes("member", false);
    await becomes("agent", true);
  });

  test("a cursor of another workspace, or of none, reveals no event of another workspace", async () => {
    const other = await anotherWorkspace(hub);
    await say("a secret");
    await hub.settled();
    const { cursor: far } = (await hub.events("0")).at(-1)!;
    for (const cursor of ["0", "1", far]) {
      await using socket = await listen({ url: hub.url, token: other.admin.token, cursor });
      await socket.frame("the end of the past events", ({ type }) => type === "RESUMED" || type === "GAP");
      assert.ok(!JSON.stringify(socket.frames).includes(chat.conversation_id));
      assert.ok(!JSON.stringify(await hub.events(cursor, other.admin.token)).includes(chat.conversation_id));
    }
  });

  test("a stream follows the standard: a cursor at once, an id for each event, and a reconnect from there", async () => {
    const stream = async (headers: Record<string, string>) => {
      const asked = request(`${hub.url}/v1/events`, {
        agent: false,
        headers: { accept: "text/event-stream", authorization: `Bearer ${token}`, ...headers },
      });
      const [answer] = (await once(asked.end(), "response")) as [import("node:http").IncomingMessage];
      const events: Frame[] = [];
      const parser = openEventStreamParser(({ id, data }) => {
        const frame = JSON.parse(data) as Frame;
        assert.equal(id, frame.cursor);
        events.push(frame);
      });
      answer.on("error", () => {}).on("data", (bytes: Buffer) => parser.push(bytes));
      return { answer, events, parser, end: () => asked.destroy() };
    };
    const first = await stream({});
    assert.equal(first.answer.statusCode, 200);
    assert.equal(first.answer.headers["content-type"], "text/event-stream; charset=utf-8");
    assert.equal(first.answer.headers["cache-control"], "no-store");
    await until("it has a cursor", () => first.parser.lastId() !== "");
    assert.deepEqual(first.events.filter(isOfTheFeed), []);
    first.end();
    await say("missed\nby\r\nthe stream");
    await hub.settled();
    const again = await stream({ "last-event-id": first.parser.lastId() });
    const feed = await hub.events(first.parser.lastId());
    await until("it has all events", () => again.events.filter(isOfTheFeed).length === feed.length);
    assert.deepEqual(again.events.filter(isOfTheFeed), feed);
    assert.ok(again.parser.comments() > 0);
    again.end();
    const wrong = await fetch(`${hub.url}/v1/events`, {
      headers: { accept: "text/event-stream", authorization: `Bearer ${token}`, "last-event-id": "x" },
    });
    assert.equal(wrong.status, 400);
  });

  test("the trace says whose socket received a message, and when", async () => {
    const { user_id, username } = await hub.user("member");
    const { conversation_id } = await hub.group([user_id, hub.person("whatsapp"), hub.person("telegram")]);
    await using socket = await listen({ url: hub.url, token: (await hub.logIn(username)).access_token });
    const { message_id } = await say("oi", conversation_id);
    await socket.frame("delivery", ({ status, recipient_id }) => status === "delivered" && recipient_id === user_id);
    const received = (await hub.client.messages.trace(message_id)).filter(({ what }) => what === "socket");
    assert.equal(received.length, 1);
    const { at, delivery_id, ...rest } = received[0]!;
    assert.deepEqual(rest, { what: "socket", recipient_id: user_id, user_id });
    const { deliveries } = await hub.client.messages.get(message_id);
    assert.ok(deliveries.some((delivery) => delivery.delivery_id === delivery_id && delivery.channel === "app"));
    assert.ok(Math.abs(Date.parse(at) - Date.now()) < 60_000);
  });
});

test("at most EVENTS_MAX_CLIENTS clients are accepted, and one that disconnects makes room", async () => {
  await using hub = await startTestHub({ env: { EVENTS_MAX_CLIENTS: "2" } });
  const { access_token: token } = await hub.logIn("admin");
  await using first = await listen({ url: hub.url, token });
  await using _second = await listen({ url: hub.url, token });
  const refused = await listen({ url: hub.url, token }).catch((error) => error);
  assert.ok(refused instanceof UpgradeRefused);
  assert.deepEqual([refused.status, refused.body.error.code], [503, "OVERLOADED"]);
  const stream = await fetch(`${hub.url}/v1/events`, {
    headers: { accept: "text/event-stream", authorization: `Bearer ${token}` },
  });
  assert.equal(stream.status, 503);
  first.cut();
  await until("there is room", async () => {
    await using socket = await listen({ url: hub.url, token });
    return socket.hello.type === "HELLO";
  });
});

test("sockets and streams of one user and of one IP address are limited, and one that closes makes room", async () => {
  await using hub = await startTestHub({ env: { SOCKETS_PER_USER: "3", SOCKETS_PER_ADDRESS: "5", TRUST_PROXY: "1" } });
  const { access_token: token } = await hub.logIn("admin");
  const from = (address: string) => ({ "x-forwarded-for": address });
  const refusedAt = async (headers: Record<string, string>, by = token) => {
    const error = await listen({ url: hub.url, token: by, headers }).catch((cause) => cause);
    assert.ok(error instanceof UpgradeRefused, "it is let in");
    return [error.status, error.body.error.code];
  };
  const limited = [429, "RATE_LIMIT_EXCEEDED"];
  const stream = (address: string, by = token) =>
    fetch(`${hub.url}/v1/events`, {
      headers: { accept: "text/event-stream", authorization: `Bearer ${by}`, ...from(address) },
    });
  await using first = await listen({ url: hub.url, token, headers: from("10.1.1.1") });
  const second = await stream("10.1.1.2");
  assert.equal(second.status, 200);
  const key = await hub.admin.apiKeys.create({ name: "shares", scopes: ["*"] });
  await using _third = await listen({ url: hub.url, token: key.key, headers: from("10.1.1.3") });
  assert.deepEqual(await refusedAt(from("10.1.1.4")), limited);
  assert.deepEqual(await refusedAt(from("10.1.1.4"), key.key), limited);
  assert.equal((await stream("10.1.1.4")).status, 429);

  // A web page cannot read the response to a handshake: it gets a close code.
  const page = new WebSocket(`${hub.url.replace("http", "ws")}/ws`, ["bearer", token], { origin: hub.url });
  const [code, reason] = await once(page, "close");
  assert.deepEqual([code, String(reason)], [4429, "too many sockets of this user or IP address"]);

  first.cut();
  await until("there is room", async () => {
    await using socket = await listen({ url: hub.url, token, headers: from("10.1.1.1") });
    return socket.hello.type === "HELLO";
  });
  await second.body!.cancel();

  await using sockets = new AsyncDisposableStack();
  for (let count = 0; count < 5; count += 1) {
    const user = await hub.user("member");
    const theirs = (await hub.logIn(user.username)).access_token;
    sockets.use(await listen({ url: hub.url, token: theirs, headers: from("10.2.2.2") }));
  }
  const { username } = await hub.user("member");
  const another = (await hub.logIn(username)).access_token;
  assert.deepEqual(await refusedAt(from("10.2.2.2"), another), limited);
  // An IP address that the client itself writes into the header is ignored.
  assert.deepEqual(await refusedAt(from("9.9.9.9, 10.2.2.2"), another), limited);
  // So is the port that some proxies add to the IP address.
  assert.deepEqual(await refusedAt(from("10.2.2.2:4711"), another), limited);
  assert.equal((await stream("10.2.2.2:4711", another)).status, 429);
  await using _elsewhere = await listen({ url: hub.url, token: another, headers: from("10.2.2.3") });
});

test("a silent client is disconnected, one that responds to pings is not", async () => {
  // Heartbeats are a second apart; here they are shorter.
  const clock = {
    ...systemClock,
    after: (delayMs: number, call: () => void) => systemClock.after(delayMs === 1_000 ? 20 : delayMs, call),
  };
  await using hub = await startTestHub({ clock });
  const { access_token: token } = await hub.logIn("admin");
  await using lively = await listen({ url: hub.url, token });
  const lines = [
    "GET /ws HTTP/1.1",
    `Host: ${new URL(hub.url).host}`,
    `Authorization: Bearer ${token}`,
    "Upgrade: websocket",
  ];
  const silent = await exchange(hub, [
    ...lines,
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    `Sec-WebSocket-Key: ${key}`,
  ]);
  assert.match(silent.answer, /101 Switching/);
  assert.ok(silent.bytes.includes(Buffer.from([0x88, 2 + "no sign of life".length, 4410 >> 8, 4410 & 0xff])));
  lively.say({ type: "ping" });
  await lively.frame("pong", ({ type }) => type === "PONG");
});

test("a stopping hub closes sockets with 1001 and refuses new ones", async () => {
  const hub = await startTestHub();
  const { access_token: token } = await hub.logIn("admin");
  const socket = await listen({ url: hub.url, token });
  const stopping = hub[Symbol.asyncDispose]();
  assert.equal((await socket.closed).code, 1001);
  await assert.rejects(listen({ url: hub.url, token }));
  await stopping;
});

/** Sends a request by hand, does not disconnect, and returns all bytes until the hub does. */
async function exchange(
  hub: TestHub,
  lines: string[],
  { isSound = false } = {},
): Promise<{ answer: string; bytes: Buffer }> {
  const socket = connect(Number(new URL(hub.url).port), "127.0.0.1");
  const chunks: Buffer[] = [];
  socket.on("error", () => {}).on("data", (chunk: Buffer) => chunks.push(chunk));
  await once(socket, "connect");
  socket.write([...lines, "", ""].join("\r\n"));
  const text = () => Buffer.concat(chunks).toString("latin1");
  if (isSound) await until("the response arrives", () => text().includes("\r\n\r\n"));
  else await until(`the hub hangs up on ${lines[0]}`, () => socket.readableEnded || socket.destroyed);
  socket.destroy();
  return { answer: text(), bytes: Buffer.concat(chunks) };
}
