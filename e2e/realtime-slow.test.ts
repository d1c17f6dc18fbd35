/** Clients that do not read, or disconnect while they connect, do not affect others. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { type IncomingMessage, request } from "node:http";
import { Socket } from "node:net";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import { closeTimeoutMs, lowWaterBytes } from "../server/src/realtime/outlet.ts";
import { maxFrameBytes } from "../server/src/realtime/sockets.ts";
import { until } from "../server/src/testing/until.ts";
import { startTestHub, type TestHub } from "./src/harness.ts";
import { listen, positionOf } from "./src/listener.ts";
import { memoryInUse } from "./src/memory-in-use.ts";

/** Far more than the buffers of a machine take for one connection. */
const count = 600;
const textLength = 30_000;
const batch = 20;
/** Within which the other clients get a batch. */
const promptMs = 2_000;

test("a socket that is not read is closed with 4408, and others get events at once meanwhile", async () => {
  await using hub = await startTestHub();
  const { access_token: token } = await hub.logIn("admin");
  await using slow = await listen({ url: hub.url, token });
  await using quick = await live(hub, token);
  slow.socket.pause();
  const startedAt = performance.now();
  await flood(hub, async (written) => {
    await until("the quick client has the events", () => quick.events().length === written, promptMs);
  });
  slow.socket.resume();
  const { code } = await slow.closed;
  // On a slow machine the hub has stopped waiting for the client to read the code.
  const isCut = code === 1006 && performance.now() - startedAt > closeTimeoutMs;
  assert.ok(code === 4408 || isCut, `${code}`);
  const before = slow.events().length;
  assert.ok(before < count);
  const cursors = slow.events().map(({ cursor }) => positionOf(cursor));
  assert.deepEqual(
    cursors,
    cursors.map((_, index) => cursors[0]! + index),
  );
  // It reconnects, and reads as it can: no event is missing.
  await using again = await listen({ url: hub.url, token, cursor: slow.events().at(-1)!.cursor });
  await until("it has the rest", () => again.events().length === count - before);
});

// Frames wait for a resume that the client does not read.
test("waiting frames are kept parsed, not as bytes", async () => {
  await using hub = await startTestHub();
  const { access_token: token } = await hub.logIn("admin");
  await flood(hub, async () => {});
  const sockets = await Promise.all(Array.from({ length: 10 }, () => listen({ url: hub.url, token, starts: false })));
  const before = (await memoryInUse()).arrayBuffers;
  const long = '{"type":"ping"}'.padStart(maxFrameBytes);
  for (const { socket } of sockets) {
    socket.pause();
    socket.send('{"type":"resume","cursor":"0"}');
    for (let sent = 0; sent < framesAtOnce; sent += 1) socket.send(long);
  }
  const expected = framesAtOnce * long.length;
  await until("all frames have arrived", () => {
    return readBytes(Number(new URL(hub.url).port)).filter((bytes) => bytes > expected).length === sockets.length;
  });
  // What is sent to each client and not read: about 128 KiB.
  const grown = (await memoryInUse()).arrayBuffers - before - sockets.length * 2 * lowWaterBytes;
  for (const socket of sockets) socket.cut();
  assert.ok(grown < (sockets.length * expected) / 4, `${grown} bytes`);
});

test("a stream that is not read is closed to make room for others", async () => {
  await using hub = await startTestHub({ env: { EVENTS_MAX_CLIENTS: "2" } });
  const { access_token: token } = await hub.logIn("admin");
  const asked = openStream(hub, token);
  const [answer] = (await once(asked, "response")) as [IncomingMessage];
  answer.on("error", () => {}).pause();
  await using quick = await live(hub, token);
  await assert.rejects(listen({ url: hub.url, token }));
  await flood(hub, async (written) => {
    await until("the quick client has the events", () => quick.events().length === written, promptMs);
  });
  await until("there is room", async () => {
    await using another = await listen({ url: hub.url, token });
    return another.hello.type === "HELLO";
  });
  asked.destroy();
});

test("streams and sockets that disconnect while they connect free their places", async () => {
  await using hub = await startTestHub({ env: { EVENTS_MAX_CLIENTS: "4" } });
  const { access_token: token } = await hub.logIn("admin");
  for (let round = 0; round < 25; round += 1) {
    const asked = [openStream(hub, token), openStream(hub, token)];
    for (const one of asked) one.on("response", (answer) => answer.on("error", () => {}));
    const opening = listen({ url: hub.url, token }).catch(() => null);
    await delay(round % 5);
    for (const one of asked) one.destroy();
    (await opening)?.cut();
  }
  const sockets = await until("all four places are free", async () => {
    const four = await Promise.all(Array.from({ length: 4 }, () => listen({ url: hub.url, token }).catch(() => null)));
    if (four.every((socket) => socket !== null)) return four;
    for (const socket of four) socket?.cut();
    return false;
  });
  for (const socket of sockets) socket!.cut();
});

/** Fewer than a socket may send at once. */
const framesAtOnce = 45;

/** Bytes that this process has read from each connection to its port. */
function readBytes(port: number): number[] {
  const { _getActiveHandles } = process as unknown as { _getActiveHandles(): object[] };
  const connections = _getActiveHandles.call(process).filter((handle) => handle instanceof Socket);
  return connections.filter(({ localPort }) => localPort === port).map(({ bytesRead }) => bytesRead);
}

async function live(hub: TestHub, token: string) {
  const socket = await listen({ url: hub.url, token });
  socket.say({ type: "ping" });
  await socket.frame("pong", ({ type }) => type === "PONG");
  return socket;
}

function openStream(hub: TestHub, token: string) {
  const headers = { accept: "text/event-stream", authorization: `Bearer ${token}` };
  return request(`${hub.url}/v1/events`, { agent: false, headers })
    .on("error", () => {})
    .end();
}

/** Large events about rows that do not exist, in batches; `onBatch` is called after each with their number. */
async function flood(hub: TestHub, onBatch: (count: number) => Promise<void>): Promise<void> {
  await using database = await connect(hub.databaseUrl);
  const { rows } = await database.query<{ id: string }>("SELECT workspace_id AS id FROM workspaces");
  const { id } = rows[0]!;
  const error = { code: "PLATFORM_REFUSED", message: "x".repeat(textLength) };
  const event = JSON.stringify(["s", id, id, id, id, "app", "failed", error]);
  for (let written = batch; written <= count; written += batch) {
    await database.query("SELECT append_events(ARRAY[$1::uuid], ARRAY[$2::integer], ARRAY[$3])", [
      id,
      batch,
      Array.from({ length: batch }, () => event).join(","),
    ]);
    hub.hub.context.eventNotifier.notify(id);
    await onBatch(written);
  }
}

/** As the owner of the tables. */
async function connect(url: string) {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  return Object.assign(client, { [Symbol.asyncDispose]: () => client.end() });
}
