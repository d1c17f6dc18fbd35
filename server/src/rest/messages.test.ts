import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { connect } from "node:net";
import { test } from "node:test";
import { pino } from "pino";
import type { Principal } from "../credentials/credentials.ts";
import { routeMessages } from "../deliveries/deliveries.ts";
import { RequestError } from "../errors.ts";
import { encodeCursor } from "../http/pages.ts";
import { openRestServer } from "../http/server.ts";
import { firstIdAt } from "../lib/ids.ts";
import { run } from "../lib/query.ts";
import { addUser } from "../testing/test-people.ts";
import { startPipeline } from "../testing/test-pipeline.ts";
import { deadLetterRoutes } from "./dead-letters.ts";
import { messageRoutes } from "./messages.ts";

test("a message is accepted, delivered, and shown with its deliveries", async () => {
  await using hub = await open();
  // A schema with patterns would leave out a name with a line end.
  const metadata = { order: 7, "line\nend": { "another\none": 1 } };
  const { status, body } = await hub.send({ payload: text("oi"), metadata });
  assert.equal(status, 202);
  assert.deepEqual(Object.keys(body).toSorted(), ["conversation_id", "created_at", "message_id", "seq", "status"]);
  assert.deepEqual([body.conversation_id, body.seq, body.status], [hub.chat, 1, "accepted"]);
  await hub.line.settled();

  const shown = await hub.call("GET", `/v1/messages/${body.message_id}`);
  assert.equal(shown.status, 200);
  const { deliveries, ...message } = shown.body;
  assert.deepEqual(message, {
    message_id: body.message_id,
    conversation_id: hub.chat,
    seq: 1,
    from: hub.line.workspaceId,
    direction: "outbound",
    payload: text("oi"),
    file: null,
    channels: null,
    reply_to: null,
    route: null,
    status: "sent",
    metadata,
    created_at: body.created_at,
  });
  assert.equal(deliveries.length, 1);
  assert.deepEqual([deliveries[0].address, deliveries[0].status, deliveries[0].attempts], ["phone:ana", "sent", 1]);
});

test("message_id is the idempotency key", async () => {
  await using hub = await open();
  const asked = { message_id: randomUUID(), payload: text("oi") };
  const first = await hub.send(asked);
  const again = await hub.send({ ...asked, message_id: asked.message_id.toUpperCase() });
  assert.deepEqual([again.status, again.body], [202, first.body]);
  assert.deepEqual([first.headers["idempotent-replayed"], again.headers["idempotent-replayed"]], [undefined, "true"]);
  const other = await hub.send({ ...asked, payload: text("olá") });
  assert.deepEqual([other.status, other.body.error.code], [409, "IDEMPOTENCY_CONFLICT"]);
});

// Ids of a time whose partition is still to come collect, and are moved while all others wait.
test("a message_id of more than 7 days in the future is refused, for a single message, in a batch and in a preflight", async () => {
  await using hub = await open();
  const idIn = (days: number, version = "7") =>
    `${firstIdAt(Date.now() + days * 24 * 3_600_000).slice(0, 14)}${version}${randomUUID().slice(15)}`;
  const body = (message_id: string) => ({ message_id, conversation_id: hub.chat, payload: text("oi") });
  const batch = async (...ids: string[]) =>
    (await hub.call("POST", "/v1/messages/batch", { messages: ids.map(body) })).body.results;
  const refused = (error: { code: string; message: string; details: object }) => {
    assert.deepEqual([error.code, error.details], ["VALIDATION_ERROR", { field: "message_id" }]);
    assert.match(error.message, /message_id.*in the future\. Check the clock/);
  };
  for (const path of ["/v1/messages", "/v1/messages/preflight"]) {
    const late = await hub.call("POST", path, body(idIn(8).toUpperCase()));
    assert.equal(late.status, 400, path);
    refused(late.body.error);
    for (const taken of [idIn(6), idIn(-400), idIn(8, "4")]) {
      assert.ok((await hub.call("POST", path, body(taken))).status < 300, `${path} ${taken}`);
    }
  }
  const [early, late] = await batch(idIn(6), idIn(8));
  assert.equal(early.status, "accepted");
  refused(late.error);
});

test("an invalid body is rejected, and the error names the field", async () => {
  await using hub = await open();
  const cases: [object, string][] = [
    [{ payload: text("oi"), conversaton_id: hub.chat }, "conversaton_id"],
    [{ payload: { type: "text" } }, "payload.text"],
    [{ payload: { type: "text", text: "" } }, "payload.text"],
    [{ payload: { type: "text", text: "x".repeat(65_537) } }, "payload.text"],
    [{ payload: { type: "text", text: 5 } }, "payload.text"],
    [{ payload: { type: "text", text: "x", extra: 1 } }, "payload.extra"],
    [{ payload: { type: "poem", text: "x" } }, "payload.type"],
    [{}, "payload"],
    [{ payload: text("oi"), message_id: "abc" }, "message_id"],
    [{ payload: text("oi"), message_id: `urn:uuid:${randomUUID()}` }, "message_id"],
    [{ payload: text("oi"), channels: [] }, "channels"],
    [{ payload: text("oi"), fallback: { order: ["phone"], after_seconds: 0 } }, "fallback.after_seconds"],
    [{ payload: text("oi"), reply_to: randomUUID() }, "reply_to"],
    [{ payload: { type: "location", latitude: 91, longitude: 0 } }, "payload.latitude"],
  ];
  for (const [asked, field] of cases) {
    const { status, body } = await hub.send(asked);
    assert.deepEqual([status, body.error.code, body.error.details.field], [400, "VALIDATION_ERROR", field]);
    assert.ok(body.error.message.length > 10 && body.error.request_id && body.success === false);
  }
});

test("a message cannot reply or react to itself, nor to a later message of the same batch", async () => {
  await using hub = await open();
  const [self, first, second] = [randomUUID(), randomUUID(), randomUUID()];
  const reaction = { type: "reaction", message_id: self, emoji: "👍" };
  for (const [asked, field] of [
    [{ message_id: self, payload: text("me"), reply_to: self }, "reply_to"],
    [{ message_id: self, payload: reaction }, "payload.message_id"],
  ] as const) {
    const { status, body } = await hub.send(asked);
    assert.deepEqual([status, body.error?.code, body.error?.details.field], [400, "VALIDATION_ERROR", field]);
  }
  const messages = [
    { message_id: first, conversation_id: hub.chat, payload: text("1"), reply_to: second },
    { message_id: second, conversation_id: hub.chat, payload: text("2") },
  ];
  const early = await hub.call("POST", "/v1/messages/batch", { messages });
  assert.deepEqual(
    early.body.results.map((result: { error?: { code: string } }) => result.error?.code),
    ["VALIDATION_ERROR", undefined],
  );
});

test("bodies that are not JSON, too large or of another type get the standard error", async () => {
  await using hub = await open();
  const cases: [string, string, number, string][] = [
    ["{", "application/json", 400, "VALIDATION_ERROR"],
    ["", "application/json", 400, "VALIDATION_ERROR"],
    ['{"payload":{"__proto__":1}}', "application/json", 400, "VALIDATION_ERROR"],
    ["a=b", "application/x-www-form-urlencoded", 415, "CONTENT_TYPE_INVALID"],
    [JSON.stringify({ x: "x".repeat(1024 * 1024) }), "application/json", 413, "PAYLOAD_TOO_LARGE"],
  ];
  for (const [payload, type, status, code] of cases) {
    const answer = await hub.call("POST", "/v1/messages", payload, { "content-type": type });
    assert.deepEqual([answer.status, answer.body.error.code], [status, code], payload.slice(0, 40));
  }
  for (const path of ["/v1/nothing", "/v1/messages/%ZZ", "/v1/messages/x", `/v1/messages/urn:uuid:${randomUUID()}`]) {
    const answer = await hub.call("GET", path);
    assert.ok([400, 404].includes(answer.status), `${path} is ${answer.status}`);
    assert.equal(answer.body.success, false, path);
    assert.ok(answer.body.error.request_id, path);
  }
});

test("requests that are not valid HTTP get the standard error", async () => {
  await using hub = await open();
  const { port } = new URL(await hub.app.listen({ port: 0, host: "127.0.0.1" }));
  const socket = connect(Number(port), "127.0.0.1");
  socket.end("nonsense\r\n\r\n");
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk);
  const [head, body] = Buffer.concat(chunks).toString().split("\r\n\r\n");
  assert.match(head!, /^HTTP\/1.1 400 /);
  assert.equal(JSON.parse(body!).error.code, "VALIDATION_ERROR");
});

test("a second message of a batch with the id of a refused one is a conflict", async () => {
  await using hub = await open();
  const [message_id, nowhere] = [randomUUID(), randomUUID()];
  const messages = [
    { message_id, conversation_id: nowhere, payload: text("1") },
    { message_id, conversation_id: nowhere, payload: text("1") },
    { message_id, conversation_id: hub.chat, payload: text("1") },
  ];
  const { body } = await hub.call("POST", "/v1/messages/batch", { messages });
  assert.deepEqual(
    body.results.map(({ error }: { error: { code: string } }) => error.code),
    ["RESOURCE_NOT_FOUND", "RESOURCE_NOT_FOUND", "IDEMPOTENCY_CONFLICT"],
  );
});

test("the results of a batch are in order, and an invalid item does not fail the others", async () => {
  await using hub = await open();
  const id = randomUUID();
  const messages = [
    { conversation_id: hub.chat, payload: text("1"), message_id: id },
    { conversation_id: hub.chat, payload: { type: "text" } },
    { conversation_id: randomUUID(), payload: text("x") },
    "nonsense",
    { conversation_id: hub.chat, payload: text("other"), message_id: id },
    { conversation_id: hub.chat, payload: text("2") },
    { conversation_id: hub.chat, payload: text("\u0000"), message_id: "not an id" },
  ];
  const { status, body } = await hub.call("POST", "/v1/messages/batch", { messages });
  assert.equal(status, 200);
  assert.deepEqual(
    body.results.map((result: { seq?: number; error?: { code: string } }) => result.seq ?? result.error!.code),
    [1, "VALIDATION_ERROR", "RESOURCE_NOT_FOUND", "VALIDATION_ERROR", "IDEMPOTENCY_CONFLICT", 2, "VALIDATION_ERROR"],
  );
  assert.deepEqual([body.results[0].message_id, body.results[6].message_id], [id, "not an id"]);
  for (const wrong of [[], Array(1_001).fill({}), "x"]) {
    assert.equal((await hub.call("POST", "/v1/messages/batch", { messages: wrong })).status, 400);
  }
});

test("members can see and send only in their own conversations, and only as themselves", async () => {
  await using hub = await open();
  const { body } = await hub.send({ payload: text("oi") });
  const eva = await addUser(hub.line.pool, hub.line.workspaceId, "Eva");
  const answers = [
    await hub.call("GET", `/v1/messages/${body.message_id}`, undefined, {}, eva),
    await hub.call("GET", `/v1/messages/${body.message_id}/events`, undefined, {}, eva),
    await hub.call("POST", "/v1/messages", { conversation_id: hub.chat, payload: text("x") }, {}, eva),
    await hub.call("GET", `/v1/messages/${body.message_id}/trace`, undefined, {}, eva),
    await hub.call(
      "POST",
      "/v1/messages",
      { conversation_id: hub.chat, payload: text("x"), from: randomUUID() },
      {},
      eva,
    ),
    await hub.call("GET", "/v1/dead-letters", undefined, {}, eva),
  ];
  assert.deepEqual(
    answers.map((answer) => answer.status),
    [404, 404, 404, 403, 403, 403],
  );
  const stranger = { ...hub.line.principal, workspaceId: randomUUID() };
  assert.equal((await hub.call("GET", `/v1/messages/${body.message_id}`, undefined, {}, stranger)).status, 404);
  const unread = { ...hub.line.principal, scopes: ["contacts:read" as const] };
  assert.equal((await hub.call("GET", `/v1/messages/${body.message_id}`, undefined, {}, unread)).status, 403);
});

test("the audit trail and the trace are complete, oldest first, without message text", async () => {
  await using hub = await open();
  let calls = 0;
  hub.line.platform.answer = () => {
    calls += 1;
    if (calls === 1) return { kind: "retry", afterMs: null, scope: "lane", platformFault: true, detail: "500" };
    return { kind: "sent", providerMessageId: "p1" };
  };
  const { body } = await hub.send({ payload: text("a secret") });
  await hub.line.settled();
  await hub.line.receipt("p1", "read");
  const events = (await hub.call("GET", `/v1/messages/${body.message_id}/events`)).body.data;
  assert.deepEqual(
    events.map((event: { status: string; cause: string }) => `${event.status}: ${event.cause}`),
    [
      "accepted: accepted",
      "accepted: routed",
      "in_transit: attempt 1 started",
      "sent: attempt 2 got a response",
      "read: receipt",
    ],
  );
  const { data } = (await hub.call("GET", `/v1/messages/${body.message_id}/trace`)).body;
  assert.deepEqual(
    data
      .filter((entry: { what: string }) => entry.what !== "status")
      .map((entry: { what: string; outcome?: string }) => entry.outcome ?? entry.what),
    ["accepted", "routed", "retry", "sent"],
  );
  const times = data.map((entry: { at: string }) => entry.at);
  assert.deepEqual(times, times.toSorted());
  assert.doesNotMatch(JSON.stringify([events, data]), /a secret/);
  for (const [path, whole] of [
    [`/v1/messages/${body.message_id}/events`, events],
    [`/v1/messages/${body.message_id}/trace`, data],
  ]) {
    const paged: unknown[] = [];
    for (let cursor = ""; ; ) {
      const page = (await hub.call("GET", `${path}?limit=1${cursor}`)).body;
      assert.equal(page.data.length, 1);
      paged.push(...page.data);
      if (page.next_cursor === null) break;
      cursor = `&cursor=${page.next_cursor}`;
    }
    assert.deepEqual(paged, whole);
    const madeUp = Buffer.from("2026-01-01").toString("base64url");
    assert.equal((await hub.call("GET", `${path}?cursor=${madeUp}`)).status, 400);
  }
});

test("a page of a trace ends at about 1 MiB, even after many attempts", async () => {
  await using hub = await open();
  hub.line.platform.answer = () => ({ kind: "refused", reason: "WINDOW_CLOSED", detail: "too late" });
  const { body } = await hub.send({ payload: text("oi") });
  await hub.line.settled();
  await hub.line.pool.query(
    `INSERT INTO attempts (delivery_id, number, started_at, finished_at, outcome, exchanges)
     SELECT delivery_id, n, now(), now(), 'retry', json_build_array(repeat('x', 20000))
     FROM deliveries, generate_series(1000, 1149) AS n WHERE message_id = $1`,
    [body.message_id],
  );
  const numbers: number[] = [];
  let pages = 0;
  for (let cursor = ""; ; pages += 1) {
    const page = (await hub.call("GET", `/v1/messages/${body.message_id}/trace?limit=200${cursor}`)).body;
    assert.ok(JSON.stringify(page).length < 1.1 * 1024 * 1024);
    for (const { number } of page.data) if (number >= 1000) numbers.push(number);
    if (page.next_cursor === null) break;
    cursor = `&cursor=${page.next_cursor}`;
  }
  assert.deepEqual(
    numbers,
    Array.from({ length: 150 }, (_, index) => 1000 + index),
  );
  assert.equal(pages, 2);
});

test("dead letters can be paged, replayed and discarded; an invalid cursor is rejected", async () => {
  await using hub = await open();
  hub.line.platform.answer = () => ({ kind: "refused", reason: "WINDOW_CLOSED", detail: "too late" });
  for (const what of ["1", "2", "3"]) await hub.send({ payload: text(what) });
  await hub.line.settled();
  const seen: string[] = [];
  let cursor = "";
  do {
    const { body } = await hub.call("GET", `/v1/dead-letters?limit=2${cursor}`);
    seen.push(...body.data.map((row: { delivery_id: string }) => row.delivery_id));
    cursor = body.next_cursor === null ? "" : `&cursor=${body.next_cursor}`;
  } while (cursor !== "");
  assert.equal(new Set(seen).size, 3);
  const made = [
    "x",
    "AAAA",
    encodeCursor({ at: new Date(1), id: "-".repeat(36) }),
    Buffer.from("9:9").toString("base64url"),
  ];
  for (const wrong of made) {
    const { status, body } = await hub.call("GET", `/v1/dead-letters?cursor=${wrong}`);
    assert.deepEqual([status, body.error.code], [400, "VALIDATION_ERROR"], wrong);
  }
  assert.equal((await hub.call("POST", `/v1/dead-letters/${seen[0]}/replay`)).status, 202);
  await hub.line.settled();
  assert.equal((await hub.call("DELETE", `/v1/dead-letters/${seen[1]}`)).status, 204);
  assert.equal((await hub.call("DELETE", `/v1/dead-letters/${seen[1]}`)).status, 404);
  const matching = [{ channel: "phone", code: "WINDOW_CLOSED", count: 2 }];
  const filter = { channel: "phone", code: "WINDOW_CLOSED" };
  const dryRun = await hub.call("POST", "/v1/dead-letters/replay", { ...filter, dry_run: true });
  assert.deepEqual([dryRun.status, dryRun.body], [200, { replayed: 0, dry_run: true, matching }]);
  const nameless = await hub.call("POST", "/v1/dead-letters/replay", {});
  assert.deepEqual([nameless.status, nameless.body.error.code], [400, "VALIDATION_ERROR"]);
  const all = await hub.call("POST", "/v1/dead-letters/replay", { all: true });
  assert.deepEqual([all.status, all.body], [202, { replayed: 2, dry_run: false, matching }]);
});

test("routing a message twice, or after a reply came in time, changes nothing", async () => {
  await using hub = await open();
  const { body } = await hub.send({ payload: text("oi") });
  await hub.line.settled();
  const before = await hub.line.deliveriesOf(body.message_id);
  const record = {
    partition: 0,
    offset: 1,
    key: hub.chat,
    value: { workspaceId: hub.line.workspaceId, messageId: body.message_id },
  };
  await routeMessages({ ...hub.line.deps, capabilitiesOf: () => hub.line.connector.capabilities }, [record, record]);
  assert.deepEqual(await hub.line.deliveriesOf(body.message_id), before);
  await hub.line.settled();
  assert.deepEqual(hub.line.texts(), ["oi"]);
});

test("a message that reaches no recipient fails with NO_ROUTE, which names the channels", async () => {
  await using hub = await open();
  await run(hub.line.pool, "DELETE FROM addresses");
  const { status, body } = await hub.send({ payload: text("oi"), channels: ["phone"] });
  assert.deepEqual([status, body.error.code, body.error.details], [422, "NO_ROUTE", { channels: ["phone"] }]);
});

const text = (words: string) => ({ type: "text", text: words });

/** The routes over a pipeline; callers are who the test says. */
async function open() {
  await using stack = new AsyncDisposableStack();
  const line = stack.use(await startPipeline());
  const chat = await line.addConversation(await line.addPerson("ana"));
  let caller: Principal = line.principal;
  const app = await openRestServer({
    log: pino({ level: "silent" }),
    dbOf: line.databases.dbOf,
    authenticate: (authorization) => {
      if (authorization === undefined) throw new RequestError("AUTH_REQUIRED", "Say who you are.");
      return caller;
    },
  });
  stack.defer(() => app.close());
  const isAccount = async (_workspace: string, _channel: string, id: string) => id === line.accountId;
  const findDirects = async (_caller: object, asked: readonly object[]) => asked.map(() => chat);
  const parseAddress = () => ({ channel: "phone", identifier: "ana" });
  messageRoutes(app, {
    acceptor: line.acceptor,
    prepare: {
      clock: line.deps.clock,
      isChannel: (name) => name === "phone",
      parseAddress,
      findDirects,
      isAccount,
      findRefusedFiles: async () => new Map(),
      findAccepted: async () => new Map(),
    },
    capabilitiesOf: () => line.connector.capabilities,
  });
  deadLetterRoutes(app, line.deps);
  const opened = stack.move();
  async function call(
    method: "GET" | "POST" | "DELETE",
    url: string,
    payload?: unknown,
    headers: Record<string, string> = {},
    by: Principal = line.principal,
  ) {
    caller = by;
    const answer = await app.inject({
      method,
      url,
      headers: { authorization: "Bearer x", ...headers },
      ...(payload === undefined ? {} : { payload: payload as object }),
    });
    return { status: answer.statusCode, headers: answer.headers, body: answer.body === "" ? null : answer.json() };
  }
  return {
    app,
    line,
    chat,
    call,
    send: (body: object) => call("POST", "/v1/messages", { conversation_id: chat, ...body }),
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}
