import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { before, test } from "node:test";
import { closeAfterTests } from "../../server/src/testing/close-after-tests.ts";
import { checkAnswersOf, openAnswerCheck, requireValidAnswers } from "./checked-answers.ts";

const opened = closeAfterTests();
/** The server's response to any request. */
let answer: { status: number; body: unknown };
let url: string;
let check: ReturnType<typeof openAnswerCheck>;

const contact = {
  contact_id: "0192f5c4-7d1e-7b3a-9c55-0a8e4f1d2b3c",
  display_name: "Ana Souza",
  addresses: ["whatsapp:+5511999991111"],
  metadata: {},
  created_at: "2026-11-29T12:00:00.000Z",
};
const shortened = { contact_id: contact.contact_id };
const path = `/v1/contacts/${contact.contact_id}`;

before(async () => {
  const server = createServer((_request, reply) => {
    const text = JSON.stringify(answer.body);
    reply.writeHead(answer.status, { "content-type": "application/json", "content-length": Buffer.byteLength(text) });
    reply.end(text);
  });
  opened.defer(() => void server.close());
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  check = openAnswerCheck(globalThis.fetch);
  check.add(url);
});

function ask(method: string, at: string, status: number, body: unknown, token = "a session"): Promise<Response> {
  answer = { status, body };
  return check.fetch(`${url}${at}`, { method, headers: { authorization: `Bearer ${token}` } });
}

async function requireMismatch(asking: Promise<Response>, expected: RegExp): Promise<void> {
  await assert.rejects(asking, { message: expected });
  assert.deepEqual(
    check.takeErrors().map(({ message }) => expected.test(message)),
    [true],
  );
}

test("a response that the document describes can be read as before", async () => {
  assert.deepEqual(await (await ask("GET", path, 200, contact)).json(), contact);
  assert.deepEqual(check.takeErrors(), []);
});

test("a wrong response fails, with its method, path, status and the first error", async () => {
  const wrong = ask("GET", "/v1/contacts", 200, { data: [{ ...contact, addresses: null }], next_cursor: null });
  await requireMismatch(wrong, /^GET \/v1\/contacts returned 200, .*: \/data\/0\/addresses must be array$/);
  await requireMismatch(ask("GET", path, 200, shortened), /must have required property 'display_name'$/);
  await requireMismatch(ask("GET", path, 200, { ...contact, created_at: "today" }), /\/created_at must match format/);
  const offset = { ...contact, created_at: "2026-11-29T12:00:00.000+00:00" };
  await requireMismatch(ask("GET", path, 200, offset), /body\.created_at: 2026-11-29T12:00:00\.000\+00:00$/);
});

test("a success that the document does not describe fails", async () => {
  await requireMismatch(ask("GET", path, 201, contact), /returned 201, .* no JSON body for this status$/);
  await requireMismatch(ask("DELETE", path, 200, contact), /^DELETE .* returned 200, /);
});

test("every refusal is an error of the document", async () => {
  const error = { code: "FORBIDDEN", message: "No.", details: {}, request_id: "r1" };
  for (const status of [404, 418, 500]) {
    assert.equal((await ask("GET", path, status, { success: false, error })).status, status);
    await requireMismatch(ask("GET", path, status, { error }), /must have required property 'success'$/);
  }
});

test("only the response of a write to an API key that cannot read may lack fields", async () => {
  const change = (token: string, body: unknown = shortened) => ask("PATCH", path, 200, body, token);
  await change("c4a_unknown");
  await requireMismatch(change("c4a_unknown", { ...shortened, display_name: 7 }), /\/display_name must be string$/);
  await requireMismatch(change("a session"), /must have required property/);
  await requireMismatch(ask("GET", path, 200, shortened, "c4a_unknown"), /must have required property/);
  // Shows all of what it created.
  await requireMismatch(ask("POST", "/v1/contacts", 201, shortened, "c4a_unknown"), /must have required property/);
});

test("the response of a write to an API key that can read is complete", async () => {
  for (const [key, scopes] of Object.entries({ c4a_writes: ["contacts:write"], c4a_all: ["*"] })) {
    await ask("POST", "/v1/api-keys", 201, {
      api_key_id: contact.contact_id,
      name: "CRM",
      key_hint: "c4a_…",
      scopes,
      created_by: contact.contact_id,
      parent_id: null,
      expires_at: null,
      rate_limit: null,
      last_used_at: null,
      created_at: contact.created_at,
      key,
    });
  }
  assert.equal((await ask("PATCH", path, 200, shortened, "c4a_writes")).status, 200);
  await requireMismatch(ask("PATCH", path, 200, shortened, "c4a_all"), /must have required property/);
});

test("other servers and paths are not checked", async () => {
  await ask("GET", "/openapi.json", 200, {});
  answer = { status: 200, body: {} };
  assert.equal((await openAnswerCheck(globalThis.fetch).fetch(`${url}${path}`)).status, 200);
});

test("fetch itself checks the hubs of the harness, and a wrong response is reported even if its error was caught", async () => {
  checkAnswersOf(url);
  answer = { status: 200, body: shortened };
  await assert.rejects(fetch(`${url}${path}`), /must have required property/);
  assert.throws(requireValidAnswers, /^AggregateError: 1 responses were wrong\. The first: GET /);
  requireValidAnswers();
});
