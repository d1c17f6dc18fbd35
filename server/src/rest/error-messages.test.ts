/** An error says which part of the request is wrong, and what to send instead. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Type } from "typebox";
import { openApiText } from "../../../contract/src/contract.ts";
import { conversations } from "../../../contract/src/conversations.ts";
import { freeForm } from "../../../contract/src/free-form.ts";
import { uuid } from "../../../contract/src/schemas.ts";
import { credentialFields } from "../../../contract/src/users.ts";
import { parseCursor } from "../events/events.ts";
import { wantedForm } from "../http/validation.ts";
import { version } from "../lib/version.ts";
import { closeAfterTests } from "../testing/close-after-tests.ts";
import { openDoor, parseAnswer } from "../testing/test-http-server.ts";

const opened = closeAfterTests();
const open = { config: { access: "public" } } as const;

async function openTestDoor() {
  const door = await openDoor({}, (app) => {
    app.get("/list", { ...open, schema: { querystring: conversations.listConversations.query } }, async () => ({}));
    app.get("/things/:id", { ...open, schema: { params: Type.Object({ id: uuid }) } }, async () => ({}));
    app.post("/things/batch", open, async () => ({}));
    app.post("/conversations", { ...open, schema: { body: conversations.createConversation.body } }, async () => ({}));
    app.post("/register", { ...open, schema: { body: Type.Object(credentialFields) } }, async () => ({}));
    const fields = {
      metadata: Type.Optional(freeForm({ maxBytes: 1_000, maxValues: 100, maxDepth: 10 }, "Your own")),
      seq: Type.Optional(Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })),
      places: Type.Optional(Type.Array(Type.Object({ latitude: Type.Number({ minimum: -90, maximum: 90 }) }))),
      note: Type.Optional(Type.String()),
    };
    app.post("/numbers", { ...open, schema: { body: Type.Object(fields) } }, async ({ body }) => body);
  });
  return opened.use(door);
}

const json = { "content-type": "application/json" };

async function ask(url: string, init?: RequestInit) {
  const answer = await fetch(url, init);
  // biome-ignore lint/suspicious/noExplicitAny: a test asserts on a response of any type
  return { status: answer.status, headers: answer.headers, body: (await answer.json()) as any };
}

test("the error for an invalid format says which format is expected", async () => {
  const { origin } = await openTestDoor();
  for (const [query, says] of [
    ["updated_after=yesterday", /must be a date and time such as 2026-11-20T12:00:00Z\.$/],
    ["channel=%00", /must be the name of a channel, in lower-case letters\.$/],
    ["contact_id=ana", /must be a UUID\.$/],
    ["cursor=%20", /must be a next_cursor of this list\.$/],
  ] as const) {
    const { status, body } = await ask(`${origin}/list?${query}`);
    assert.equal(status, 400);
    assert.match(body.error.message, says);
  }
  const register = (body: object) =>
    ask(`${origin}/register`, { method: "POST", headers: json, body: JSON.stringify(body) });
  const good = { username: "ana", email: "ana@example.com", password: "a password" };
  assert.match((await register({ ...good, email: "ana" })).body.error.message, /must be an email address/);
  assert.match((await register({ ...good, password: " ".repeat(8) })).body.error.message, /at least one visible/);
});

// A pattern or a format without words would be shown as it is.
test("every format in the API has a description for errors", async () => {
  const text = JSON.stringify(JSON.parse(openApiText(version)));
  const forms = [...text.matchAll(/"(?:pattern|format)":("(?:[^"\\]|\\.)*")/g)].map(([, form]) => JSON.parse(form!));
  assert.ok(new Set(forms).size > 8);
  assert.deepEqual(
    [...new Set(forms)].filter((form) => wantedForm(form) === null),
    [],
  );
});

test("numbers are rounded where the schema wants a number, and exact in free-form objects", async () => {
  const { origin } = await openTestDoor();
  const send = (body: string) => ask(`${origin}/numbers`, { method: "POST", headers: json, body });
  const place = await send('{"places":[{"latitude":-23.550519999999998976}]}');
  assert.deepEqual([place.status, place.body.places], [200, [{ latitude: -23.55052 }]]);
  const seq = await send('{"seq":9007199254740993}');
  assert.equal(seq.status, 400);
  assert.match(seq.body.error.message, /^seq in the body must be <= 9007199254740991\.$/);
  assert.match((await send('{"places":[{"latitude":1e999}]}')).body.error.message, /must be <= 90\.$/);
  assert.match((await send('{"note":9007199254740993}')).body.error.message, /must be string/);
  for (const name of ["metadata", "met\\u0061data"]) {
    const { status, body } = await send(
      `{"places":[{"latitude":0.10000000000000000555}],"${name}":{"a":[9007199254740993]}}`,
    );
    assert.deepEqual([status, body.error.details.field], [400, "metadata.a.0"], name);
    assert.match(body.error.message, /send it as a string/);
  }
});

test("a content type other than JSON gets 415, a wrong path and host 400, a wrong method 405", async () => {
  const door = await openTestDoor();
  const { origin } = door;
  for (const type of ["text/plain", "application/xml", "multipart/form-data; boundary=x"]) {
    const { status, body } = await ask(`${origin}/echo`, {
      method: "POST",
      headers: { "content-type": type },
      body: "x",
    });
    assert.deepEqual([status, body.error.code], [415, "CONTENT_TYPE_INVALID"], type);
    assert.match(body.error.message, /application\/json/);
  }
  for (const path of ["/things/%zz", "/docs/static/%"]) {
    const { status, body } = await ask(`${origin}${path}`);
    assert.equal(status, 400);
    assert.match(body.error.message, /^The path is not valid/);
  }
  for (const [method, path, allow] of [
    ["GET", "/things/batch", "POST"],
    ["POST", "/ws", "GET"],
  ] as const) {
    const { status, headers, body } = await ask(`${origin}${path}`, { method });
    assert.deepEqual([status, headers.get("allow"), body.error.code], [405, allow, "METHOD_NOT_ALLOWED"], path);
  }
  for (const host of ["a b/c", "", "a/b", "a@b", "a:b", "[::1"]) {
    const { socket, ended } = await door.dial();
    socket.write(`GET /hello HTTP/1.1\r\nhost: ${host}\r\nconnection: close\r\n\r\n`);
    const { status, error } = parseAnswer(await ended);
    assert.deepEqual([status, error.code], [400, "VALIDATION_ERROR"], host);
  }
  for (const host of ["a", "chat.example.com:8080", "[::1]:80", "127.0.0.1", "xn--mnchen-3ya.example", "a_b"]) {
    const { socket, ended } = await door.dial();
    socket.write(`GET /hello HTTP/1.1\r\nhost: ${host}\r\nconnection: close\r\n\r\n`);
    assert.match(await ended, /^HTTP\/1.1 200/, host);
  }
});

test("an invalid feed cursor is reported with the name of its parameter", () => {
  assert.throws(() => parseCursor("abc", "after"), { details: { field: "after" }, message: /^after is not a cursor/ });
});
