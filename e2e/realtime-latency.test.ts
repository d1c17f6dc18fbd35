/** A client that resumes over a slow network to a busy machine gets everything since its cursor, once and in order. */
import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { Worker } from "node:worker_threads";
import { WebSocket } from "ws";
import { openClient } from "../client/src/client.ts";
import { type Clock, systemClock } from "../server/src/lib/clock.ts";
import { closeAfterTests } from "../server/src/testing/close-after-tests.ts";
import { patient } from "../server/src/testing/patience.ts";
import { until } from "../server/src/testing/until.ts";
import { openChance } from "./src/chance.ts";
import { startTestHub, type TestHub } from "./src/harness.ts";
import { type Frame, feedTypes, listen } from "./src/listener.ts";
import { jitter, openSlowNetwork } from "./src/slow-network.ts";

/** Each way, in milliseconds; a quarter more or less by chance. */
const latenciesMs = [0, 30, 250, 1_000, 2_000];
/** Messages sent while the clients resume, and the time between two, in milliseconds. */
const sayEveryMs = 100;
/** How often each client disconnects and resumes. */
const breaks = 2;
const patienceMs = 120_000;
/** How long the hub waits for a client's first frame. */
const startWithinSeconds = 5;

/** How a client resumes: with the cursor in the URL, with a frame at once, or with a frame after HELLO. */
const ways = ["address", "at once", "after HELLO"] as const;

describe("resuming with latency", { timeout: patient(300_000) }, () => {
  let hub: TestHub;
  let token: string;
  let conversationId: string;
  let busy: Worker;
  /** Whether the hub waits so long for a client's first frame that no machine is too slow. */
  let waitsLong = false;
  const clock: Clock = {
    ...systemClock,
    after: (delayMs, callback) =>
      systemClock.after(waitsLong && delayMs === startWithinSeconds * 1_000 ? 600_000 : delayMs, callback),
  };
  const say = (text: string) =>
    hub.client.messages.send({ conversation_id: conversationId, payload: { type: "text", text } });

  const opened = closeAfterTests();
  before(async () => {
    hub = opened.use(await startTestHub({ clock }));
    token = (await hub.logIn("admin")).access_token;
    const chat = await hub.group([hub.person("whatsapp"), hub.person("telegram"), hub.person("telegram")]);
    conversationId = chat.conversation_id;
    busy = new Worker("for (;;) Math.random();", { eval: true });
    opened.defer(() => void busy.terminate());
  });

  test("every client gets all events since its cursor once and in order, in each way to resume", async (t) => {
    const chance = openChance(7);
    const { hello } = await listen({ url: hub.url, token }).then(async (socket) => {
      await socket[Symbol.asyncDispose]();
      return socket;
    });
    const start = hello.cursor;
    await say("missed");
    await hub.settled();
    let isOver = false;
    const speaking = (async () => {
      for (let number = 0; !isOver; number += 1) {
        await say(`${number}`);
        await new Promise((resolve) => setTimeout(resolve, sayEveryMs));
      }
    })();
    await using networks = new AsyncDisposableStack();
    const roamers = await Promise.all(
      latenciesMs.flatMap((latencyMs) =>
        ways.map(async (way) => {
          const network = networks.use(await openSlowNetwork(Number(new URL(hub.url).port), jitter(chance, latencyMs)));
          return { name: `${latencyMs} ms, ${way}`, ...openReader({ port: network.port, token, start, way }) };
        }),
      ),
    );
    const clients = await Promise.all(
      latenciesMs.map(async (latencyMs) => {
        const network = networks.use(await openSlowNetwork(Number(new URL(hub.url).port), jitter(chance, latencyMs)));
        const events: Frame[] = [];
        const client = openClient({ url: `http://127.0.0.1:${network.port}`, credential: { token } });
        const connection = networks.use(
          client.realtime.connect({ cursor: start, onEvent: (event) => void events.push(event as Frame) }),
        );
        return { name: `${latencyMs} ms, the client library`, events: () => events, connection };
      }),
    );
    await Promise.all(roamers.map((roamer) => roamer.roam(breaks)));
    isOver = true;
    await speaking;
    const last = roamers.map((roamer) => roamer.stay());
    await hub.settled();
    const feed = await hub.events(start);
    for (const { name, events } of [...roamers, ...clients]) {
      await until(`${name}: all has come`, () => events().at(-1)?.cursor === feed.at(-1)!.cursor, patienceMs);
      assert.deepEqual(cursorsOf(events()), cursorsOf(feed), name);
    }
    for (const socket of last) socket.terminate();
    t.diagnostic(`${feed.length} events; read again: ${roamers.map((roamer) => roamer.readAgain()).join(" ")}`);
  });

  test("no live event comes between HELLO and the first frame, and LIVE says when they begin", async () => {
    waitsLong = true;
    await using socket = await listen({ url: hub.url, token, starts: false });
    waitsLong = false;
    await say("meanwhile");
    await hub.settled();
    assert.deepEqual(
      socket.frames.map(({ type }) => type),
      ["HELLO"],
    );
    assert.equal(socket.hello.start_within_seconds, startWithinSeconds);
    socket.say({ type: "start" });
    await socket.frame("meanwhile", ({ content }) => content === "meanwhile");
    await socket.frame("LIVE", ({ type }) => type === "LIVE");
    const kinds = socket.frames.map(({ type }) => type);
    assert.deepEqual(kinds.filter((type) => type === "LIVE").length, 1);
    assert.ok(kinds.indexOf("NEW_MESSAGE") < kinds.indexOf("LIVE"), "events since HELLO come first");
  });

  test("a silent client is live after five seconds", async () => {
    await using socket = await listen({ url: hub.url, token, starts: false });
    await say("to a silent client");
    await socket.frame("it", ({ content }) => content === "to a silent client", 60_000);
    await socket.frame("LIVE", ({ type }) => type === "LIVE");
  });

  test("a later resume replays the events between RESUMING and LIVE again", async () => {
    await using socket = await listen({ url: hub.url, token });
    await socket.frame("LIVE", ({ type }) => type === "LIVE");
    await say("once");
    const said = await socket.frame("it", ({ content }) => content === "once");
    await hub.settled();
    const { cursor } = socket.hello;
    socket.say({ type: "resume", cursor });
    await socket.frame("RESUMED", ({ type }) => type === "RESUMED");
    await until("it is live again", () => socket.frames.filter(({ type }) => type === "LIVE").length === 2);
    const from = socket.frames.findIndex(({ type }) => type === "RESUMING");
    assert.equal(socket.frames[from]!.from, cursor);
    const again = socket.frames.slice(from + 1).filter(({ type }) => type !== "PRESENCE");
    assert.deepEqual(
      again.map(({ type }) => type),
      [...(await hub.events(cursor)).map(({ type }) => type), "RESUMED", "LIVE"],
    );
    assert.ok(again.some(({ message_id }) => message_id === said.message_id));
  });
});

function cursorsOf(frames: readonly Frame[]): string {
  return frames.map(({ cursor }) => cursor).join(" ");
}

/**
 * Keeps events by the rule of the guide: only those after RESUMING. Where its `resume` takes longer than the hub waits,
 * live events come before; the events between them and its cursor follow.
 */
function openReader(options: { port: number; token: string; start: string; way: (typeof ways)[number] }) {
  const { port, token, start, way } = options;
  const kept: Frame[] = [];
  let timesAgain = 0;

  function connect(): WebSocket {
    const cursor = kept.at(-1)?.cursor ?? start;
    let isResumed = false;
    let early = 0;
    const query = way === "address" ? `?cursor=${cursor}` : "";
    const socket = new WebSocket(`ws://127.0.0.1:${port}/ws${query}`, ["bearer", token]);
    const resume = () => socket.send(JSON.stringify({ type: "resume", cursor }));
    if (way === "at once") socket.on("open", resume);
    socket.on("error", () => {});
    socket.on("message", (data: Buffer) => {
      if (socket.readyState !== socket.OPEN) return;
      const frame = JSON.parse(data.toString()) as Frame;
      if (frame.type === "HELLO" && way === "after HELLO") resume();
      if (frame.type === "RESUMING") {
        isResumed = true;
        if (early > 0) timesAgain += 1;
      }
      if (feedTypes.has(frame.type)) {
        if (isResumed) kept.push(frame);
        else early += 1;
      }
      assert.notEqual(frame.type, "GAP");
    });
    return socket;
  }

  return {
    events: () => kept,
    readAgain: () => timesAgain,
    /** Disconnects after a few events, many times. */
    async roam(times: number): Promise<void> {
      for (let round = 0; round < times; round += 1) {
        const goal = kept.length + 5;
        const socket = connect();
        await until("it gets on", () => kept.length >= goal, patienceMs);
        socket.terminate();
      }
    },
    stay: connect,
  };
}
