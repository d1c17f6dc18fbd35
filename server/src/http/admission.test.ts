import assert from "node:assert/strict";
import { once } from "node:events";
import { Agent, type IncomingMessage, request } from "node:http";
import { test } from "node:test";
import { promisify } from "node:util";
import { pino } from "pino";
import { RequestError } from "../errors.ts";
import { BatcherFull } from "../lib/batcher.ts";
import type { Clock } from "../lib/clock.ts";
import { limits } from "../lib/concurrency-limit.ts";
import { openDoor } from "../testing/test-http-server.ts";
import { until } from "../testing/until.ts";
import { nextTurn } from "./admission.ts";
import type { RestOptions } from "./server.ts";

/** A door with as many requests under way as it admits. */
async function openFullDoor(options: Partial<RestOptions> = {}) {
  let nowMs = 0;
  let timers: { at: number; callback: () => void }[] = [];
  const clock: Clock = {
    now: () => nowMs,
    elapsed: () => nowMs,
    after(delayMs, callback) {
      const timer = { at: nowMs + delayMs, callback };
      timers.push(timer);
      return () => {
        timers = timers.filter((one) => one !== timer);
      };
    },
  };
  const ends: (() => void)[] = [];
  const seen = { credentials: 0 };
  const authenticate = () => {
    seen.credentials += 1;
    throw new RequestError("AUTH_REQUIRED", "No caller is known here.");
  };
  const door = await openDoor({ clock, authenticate, ...options }, (app) => {
    app.post("/work", { config: { access: "public" } }, () => new Promise((resolve) => ends.push(() => resolve({}))));
    const uncounted = { access: "public", admission: "uncounted" } as const;
    app.post("/upload", { config: uncounted }, () => new Promise((resolve) => ends.push(() => resolve({}))));
    app.post("/inside", { config: { access: "public" } }, async () => {
      throw new RequestError("OVERLOADED", "Too many messages wait.", { cause: new BatcherFull("the queue is full") });
    });
    app.get("/healthz", { config: { access: "public", admission: "always" } }, async () => ({ status: "alive" }));
    app.get("/feed", { config: { access: "public", admission: "streams" } }, async () => ({ data: [] }));
  });
  const started = Array.from({ length: limits.least }, () => ask(door.origin, "POST", "/work"));
  const opened = {
    ...door,
    seen,
    ends,
    waiting: () => timers.length,
    pass(ms: number) {
      nowMs += ms;
      const due = timers.filter(({ at }) => at <= nowMs);
      timers = timers.filter(({ at }) => at > nowMs);
      for (const { callback } of due) callback();
    },
    async endAll() {
      for (const end of ends.splice(0)) end();
      for (const answer of await Promise.all(started)) assert.equal(answer.status, 200);
    },
    async [Symbol.asyncDispose]() {
      for (const end of ends.splice(0)) end();
      await Promise.allSettled(started);
      await door[Symbol.asyncDispose]();
    },
  };
  await using failing = new AsyncDisposableStack();
  failing.use(opened);
  await until("enough is under way", () => ends.length === limits.least);
  // Refused by the queue before the commit: no other request may begin.
  assert.equal((await ask(door.origin, "POST", "/inside")).status, 503);
  assert.equal(door.app.load().limit, limits.least);
  failing.move();
  return opened;
}

/** Sends requests over one connection, one after the other. */
function openClient(origin: string) {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  return {
    async ask(method: string, path: string, { body = "", headers = {} }: Sent = {}) {
      const asked = request(origin + path, { method, agent, headers });
      asked.end(body);
      const [answer] = (await once(asked, "response")) as [IncomingMessage];
      const { socket, headers: received, statusCode: status } = answer;
      return { status, headers: received, body: (await answer.toArray()).join(""), socket };
    },
    [Symbol.dispose]: () => agent.destroy(),
  };
}

interface Sent {
  body?: string;
  headers?: Record<string, string>;
}

/** Sends a request over a new connection, of which nothing is known. */
async function ask(origin: string, method: string, path: string, sent?: Sent) {
  using client = openClient(origin);
  return await client.ask(method, path, sent);
}

test("a full hub refuses before it reads route, credential and body, and accepts again when requests have ended", async () => {
  await using door = await openFullDoor();
  const refused = await ask(door.origin, "POST", "/work", { headers: { "x-request-id": "mine" } });
  assert.equal(refused.status, 503);
  assert.equal(refused.headers["retry-after"], "1");
  assert.equal(refused.headers["x-request-id"], "mine");
  assert.equal(refused.headers["x-content-type-options"], "nosniff");
  const { success, error } = JSON.parse(refused.body);
  const { code, message, details, request_id } = error;
  assert.deepEqual(
    { success, code, details, request_id },
    {
      success: false,
      code: "OVERLOADED",
      details: {},
      request_id: "mine",
    },
  );
  assert.match(message, /Nothing was changed\. Try again after/);
  const next = await ask(door.origin, "GET", "/private", { headers: { authorization: "Bearer x" } });
  assert.equal(next.status, 503);
  assert.equal(next.headers["retry-after"], "2");
  assert.equal((await ask(door.origin, "GET", "/nowhere")).status, 503);
  assert.equal((await ask(door.origin, "POST", "/work", { body: "no JSON" })).status, 503);
  assert.equal(door.seen.credentials, 0);
  assert.deepEqual(door.app.load(), { underWay: limits.least, limit: limits.least, refused: 4 });

  await door.endAll();
  assert.equal((await ask(door.origin, "GET", "/private")).status, 401);
  assert.equal(door.app.load().underWay, 0);
});

test("a full hub still serves health checks and opens streams, and pages of other origins can read its refusal", async () => {
  const origin = "https://app.example.com";
  await using door = await openFullDoor({ corsOrigins: [origin] });
  assert.equal((await ask(door.origin, "GET", "/healthz?now")).status, 200);
  assert.equal((await ask(door.origin, "GET", "/feed", { headers: { accept: "text/event-stream" } })).status, 200);
  assert.equal((await ask(door.origin, "GET", "/feed")).status, 503);
  const headers = { origin, "access-control-request-method": "POST" };
  assert.equal((await ask(door.origin, "OPTIONS", "/private", { headers })).status, 204);
  const refused = await ask(door.origin, "GET", "/private", { headers: { origin } });
  assert.equal(refused.status, 503);
  assert.equal(refused.headers["access-control-allow-origin"], origin);
  assert.match(String(refused.headers["access-control-expose-headers"]), /retry-after/);
});

test("a refusal keeps the connection, unless a long body would have to be read", async () => {
  await using door = await openFullDoor();
  using client = openClient(door.origin);
  const first = await client.ask("POST", "/work", { body: "x".repeat(1_000) });
  assert.equal(first.status, 503);
  const alive = await client.ask("GET", "/healthz");
  assert.equal(alive.status, 200);
  assert.equal(alive.socket, first.socket);

  const long = await ask(door.origin, "POST", "/work", { body: "x".repeat(65 * 1024) });
  assert.equal(long.status, 503);
  assert.equal(long.headers.connection, "close");
  const headers = { "transfer-encoding": "chunked" };
  const ofUnknownLength = await ask(door.origin, "POST", "/work", { body: "x", headers });
  assert.deepEqual([ofUnknownLength.status, ofUnknownLength.headers.connection], [503, "close"]);
});

test("a request is refused when others have filled the limit before its body arrives", async () => {
  await using door = await openFullDoor();
  door.ends.shift()!();
  await until("there is room", () => door.app.load().underWay === limits.least - 1);
  const arrives = once(door.app.server, "request");
  const headers = { "content-type": "application/json", "content-length": "2" };
  const slow = request(`${door.origin}/work`, { method: "POST", headers });
  let answer: IncomingMessage | undefined;
  slow.on("response", (response) => {
    answer = response.resume();
  });
  slow.flushHeaders();
  await arrives;
  const other = ask(door.origin, "POST", "/work");
  await until("another has started", () => door.app.load().underWay === limits.least);
  slow.end("{}");
  const refused = await until("the response arrives", () => answer);
  assert.deepEqual([refused.statusCode, refused.headers["retry-after"]], [503, "1"]);
  for (const end of door.ends.splice(0)) end();
  assert.equal((await other).status, 200);
});

// Otherwise clients that repeat their requests at once take the time in which the hub could work.
test("after a refusal, the next request on the connection gets its response when retry-after has passed, not sooner", async () => {
  await using door = await openFullDoor();
  using client = openClient(door.origin);
  const refused = await client.ask("POST", "/work");
  assert.equal(refused.status, 503);
  const before = door.waiting();
  const early = client.ask("POST", "/work");
  await until("the request is held", () => door.waiting() === before + 1);
  assert.equal(door.app.load().refused, 1);
  door.pass(Number(refused.headers["retry-after"]) * 1_000);
  assert.equal((await early).status, 503);

  const accepted = client.ask("POST", "/work");
  await until("the request is held", () => door.waiting() === before + 1);
  await door.endAll();
  door.pass(3_000);
  await until("the request is let in", () => door.ends.length === 1);
  for (const end of door.ends.splice(0)) end();
  assert.equal((await accepted).status, 200);
});

test("after a refusal, at most one request of the connection is held at a time", async () => {
  await using door = await openFullDoor();
  const { socket } = await door.dial();
  const asked = "GET /private HTTP/1.1\r\nhost: a\r\n\r\n";
  socket.write(asked);
  await until("the first is refused", () => door.app.load().refused === 1);
  const before = door.waiting();
  socket.write(asked.repeat(3));
  await until("one is held, and two are refused", () => door.app.load().refused === 3);
  assert.equal(door.waiting(), before + 1);
});

test("refusals are logged once, with a count", async () => {
  const lines: { refused?: number; msg: string }[] = [];
  const log = pino({ level: "warn" }, { write: (line: string) => void lines.push(JSON.parse(line)) });
  await using door = await openFullDoor({ log });
  for (let client = 0; client < 5; client += 1) await ask(door.origin, "POST", "/work");
  assert.deepEqual(lines, []);
  door.pass(10_000);
  assert.deepEqual(
    lines.map(({ refused, msg }) => ({ refused, msg })),
    [{ refused: 5, msg: "requests were refused because of overload" }],
  );
  door.pass(10_000);
  assert.equal(lines.length, 1);
});

// Clients that read slowly must not make the hub appear busy.
test("a request counts until its response is ready, not until the client has read it", async () => {
  await using door = await openDoor();
  const asked = request(`${door.origin}/large`).end();
  const [answer] = (await once(asked, "response")) as [IncomingMessage];
  assert.equal(door.app.load().underWay, 0);
  answer.destroy();
});

test("an upload is refused by a full hub, and does not count while it arrives", async () => {
  await using full = await openFullDoor();
  assert.equal((await ask(full.origin, "POST", "/upload")).status, 503);
  await full.endAll();
  const upload = ask(full.origin, "POST", "/upload");
  await until("it is under way", () => full.ends.length === 1);
  assert.equal(full.app.load().underWay, 0);
  for (const end of full.ends.splice(0)) end();
  assert.equal((await upload).status, 200);
});

test("a request of a disconnected client counts until it ends", async () => {
  await using door = await openDoor();
  const leaving = new AbortController();
  const asked = fetch(`${door.origin}/held`, { signal: leaving.signal }).catch(() => null);
  await until("it has started", () => door.app.load().underWay === 1);
  leaving.abort();
  await asked;
  const connections = promisify(door.app.server.getConnections.bind(door.app.server));
  await until("the hub has noticed", async () => (await connections()) === 0);
  assert.equal(door.app.load().underWay, 1);
  door.letGo();
  await until("it has ended", () => door.app.load().underWay === 0);
});

test("turns come one after the other, from the shortest wait to the longest", () => {
  assert.equal(nextTurn(Number.NEGATIVE_INFINITY, 500), 1_500);
  assert.equal(nextTurn(1_500, 500), 1_500.25);
  assert.equal(nextTurn(3_499.75, 500), 3_500);
  assert.equal(nextTurn(3_500, 500), 3_500);
});

test("the first turn after a pause is a shortest wait away", () => {
  assert.equal(nextTurn(1_000, 5_000), 6_000);
});
