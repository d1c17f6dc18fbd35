/**
 * Words that must stay where they belong are pushed through every path, right and wrong, while the hub logs all it can.
 * None of them may be found in the log, in an error response, in a trace, in the audit log, or on an open page.
 */

import assert from "node:assert/strict";
import { createHmac, randomBytes, randomUUID } from "node:crypto";
import { connect } from "node:net";
import { before, test } from "node:test";
import { openPool } from "../server/src/lib/postgres.ts";
import { closeAfterTests } from "../server/src/testing/close-after-tests.ts";
import { until } from "../server/src/testing/until.ts";
import { defaultWhatsAppAccount } from "../simulator/src/default-accounts.ts";
import { adminPassword, startTestHub, type TestHub } from "./src/harness.ts";
import { readOpenApi } from "./src/openapi.ts";

const opened = closeAfterTests();
let hub: TestHub;
let owner: ReturnType<typeof openPool>;
let token: string;
/** Every word that was pushed, by what it was. */
const canaries = new Map<string, string>();
/** Responses with 400 and above. */
const refusals: { request: string; text: string }[] = [];

before(async () => {
  hub = opened.use(
    await startTestHub({
      env: { WEBHOOKS_ALLOW_PRIVATE: "true", REGISTRATION: "open" },
      // The database is broken on purpose.
      expectedErrors: /"code":"(23514|42P01|42703)"|a request failed|could not|failed/,
    }),
  );
  const quiet = { info() {}, warn() {}, error() {} };
  owner = opened.adopt(openPool({ url: hub.databaseUrl, size: 1, applicationName: "canaries", log: quiet }), (pool) =>
    pool.end(),
  );
  const session = await hub.logIn("admin");
  token = session.access_token;
  canaries.set("an access token", token.split(".")[2]!);
  canaries.set("a refresh token", session.refresh_token);
  canaries.set("the admin's password", adminPassword);
});

/** A new word for this. */
function canary(name: string): string {
  const word = `canary${randomBytes(9).toString("hex")}`;
  canaries.set(`${name} ${canaries.size}`, word);
  return word;
}

interface Sent {
  body?: unknown;
  token?: string | null;
  headers?: Record<string, string>;
}

async function send(request: string, { body, token: by = token, headers = {} }: Sent = {}) {
  const [method, path] = request.split(" ") as [string, string];
  const text = body === undefined ? undefined : typeof body === "string" ? body : JSON.stringify(body);
  const answer = await fetch(hub.url + path, {
    method,
    redirect: "manual",
    headers: {
      ...(by === null ? {} : { authorization: `Bearer ${by}` }),
      ...(text === undefined ? {} : { "content-type": "application/json" }),
      ...headers,
    },
    ...(text === undefined ? {} : { body: text }),
  });
  const said = await answer.text();
  if (answer.status >= 400) refusals.push({ request, text: `${said} ${JSON.stringify([...answer.headers])}` });
  // biome-ignore lint/suspicious/noExplicitAny: a test asserts on the body, of any type
  return { status: answer.status, body: (said.startsWith("{") ? JSON.parse(said) : said) as any };
}

/** Where a word of the list stands that should not. */
function found(text: string, where: string): string[] {
  return [...canaries].filter(([, word]) => text.includes(word)).map(([name]) => `${name} in ${where}`);
}

function assertNowhere(): void {
  const inLog = hub.log.lines.flatMap((line) => found(line, `the log: ${line.slice(0, 200)}`));
  const inAnswers = refusals.flatMap(({ request, text }) =>
    found(text, `the response to ${request}: ${text.slice(0, 300)}`),
  );
  assert.deepEqual([...new Set([...inLog, ...inAnswers])], []);
}

test("credentials of all kinds: valid, wrong and malformed", async () => {
  const username = "careful";
  const password = canary("password");
  await send("POST /auth/register", { body: { username, email: "careful@example.com", password } });
  assert.equal((await send("POST /auth/token", { body: { username, password } })).status, 200);
  const body = { username: canary("username"), password: canary("wrong password") };
  assert.equal((await send("POST /auth/token", { body })).status, 401);
  await send("POST /auth/token", { body: { username: "admin", password: canary("short").repeat(20) } });
  await send("POST /auth/token", { body: `{"username": "admin", "password": "${canary("broken JSON")}` });
  await send("POST /auth/token", { body: canary("no JSON"), headers: { "content-type": "text/plain" } });
  await send("POST /auth/refresh", { body: { refresh_token: `c4r_${canary("refresh").padEnd(86, "x")}` } });
  const made = await send("POST /v1/api-keys", {
    body: { name: "key", scopes: ["*"] },
    headers: { "idempotency-key": canary("key") },
  });
  canaries.set("an API key", made.body.key);
  await send("GET /v1/me", { token: made.body.key });
  await send(`DELETE /v1/api-keys/${made.body.api_key_id}`);
  await send("GET /v1/me", { token: made.body.key });
  for (const scheme of ["Basic", "Bearer", "Token", "Digest"]) {
    await send("GET /v1/me", { token: null, headers: { authorization: `${scheme} ${canary(`header ${scheme}`)}` } });
  }
  const [head, payload] = token.split(".");
  await send("GET /v1/me", { token: `${head}.${payload}.${canary("signature")}` });
  await send("GET /v1/me", { token: `c4a_${canary("API key")}` });
  await send(`GET /v1/me?token=${canary("query")}&access_token=${canary("query")}`, { token: null });
  await send(`GET /ws?token=${canary("socket query")}`, { token: null });
  await send(`GET /v1/events?after=${canary("cursor")}`);
  await send(`GET /v1/contacts?cursor=${canary("cursor")}`);
  await send(`GET /auth/oauth/google/callback?code=${canary("code")}&state=${canary("state")}`, { token: null });
  await send("POST /v1/me/password", { body: { current_password: canary("old"), new_password: canary("new") } });
  await send("POST /v1/me/totp");
  await send("POST /v1/me/totp/confirm", { body: { code: canary("code") } });
  await send("PATCH /v1/me", { body: { llm_api_key: canary("LLM key") } });
  for (const idempotencyKey of [canary("Idempotency-Key"), canary("long").repeat(20)]) {
    for (const name of ["one", "two"]) {
      await send("POST /v1/api-keys", {
        body: { name, scopes: ["*"] },
        headers: { "idempotency-key": idempotencyKey },
      });
    }
  }
  await sendRaw(`GET /v1/me HTTP/1.1\r\nhost: hub\r\nauthorization: Bearer ${canary("raw")}\r\nbad header\r\n\r\n`);
  await sendRaw(`GET /v1/me?x=${canary("raw")} HTTP/9.9\r\n\r\n`);
  await sendRaw(`POST /auth/token HTTP/1.1\r\nhost: hub\r\ncontent-length: 5\r\n\r\n${canary("raw body")}`);
  assertNowhere();
});

test("every string of every request body, in its own field and in others", async () => {
  const { paths } = await readOpenApi<{ paths: Record<string, Record<string, Operation>> }>(hub.url);
  let requests = 0;
  for (const [path, methods] of Object.entries(paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const schema = operation.requestBody?.content["application/json"]?.schema;
      if (schema === undefined || path.includes("/webhooks/")) continue;
      // Its valid body would end the session that the other requests use.
      if (path === "/auth/logout-everywhere") continue;
      const request = `${method.toUpperCase()} ${path.replaceAll(/\{\w+\}/g, randomUUID())}`;
      const name = `${method} ${path}`;
      for (const body of [
        fill(schema, name, true),
        fill(schema, name, false),
        { a: { b: canary(name) } },
        [canary(name)],
      ]) {
        await send(request, { body });
        requests += 1;
      }
      await send(request, { body: `{"x": "${canary(name)}"` });
      await send(request, { body: canary(name) });
    }
  }
  assert.ok(requests > 100, `${requests} requests`);
  assertNowhere();
});

test("messages, captions, names, and the bodies sent to platforms and endpoints", async () => {
  const { simulator } = hub;
  const endpoint = await send("POST /v1/webhook-endpoints", {
    body: { url: "http://127.0.0.1:59999/hook", events: ["*"] },
  });
  assert.equal(endpoint.status, 201, JSON.stringify(endpoint.body));
  canaries.set("a webhook endpoint's secret", endpoint.body.secret);
  const ana = hub.person("whatsapp", canary("name"));
  const bo = hub.person("telegram", "Bo");
  const group = await hub.group([ana, bo, hub.person("telegram", "Cy")]);
  const conversation_id = group.conversation_id;
  const payloads = [
    { type: "text", text: canary("text") },
    { type: "location", latitude: 1, longitude: 2, name: canary("place") },
    { type: "template", name: "hello_world", language: "en_US", parameters: [canary("parameter")] },
    { type: "file", file_id: randomUUID(), caption: canary("caption") },
  ];
  await simulator.break({ channel: "whatsapp", fault: "server_error", count: 2 });
  await simulator.break({ channel: "telegram", fault: "permanent", count: 1 });
  const ids: string[] = [];
  for (const payload of payloads) {
    const sent = await send("POST /v1/messages", {
      body: { conversation_id, payload, metadata: { note: canary("note") } },
    });
    if (sent.status === 202) ids.push(sent.body.message_id);
  }
  assert.ok(ids.length >= 2);
  const bad = { conversation_id: randomUUID(), payload: { type: "text", text: canary("nowhere") } };
  await send("POST /v1/messages/batch", { body: { messages: [bad, { ...bad, conversation_id }] } });
  await send("POST /v1/messages", { body: { ...bad, message_id: ids[0] } });
  await ana.writes(canary("inbound"));
  await ana.writes({ type: "file", content_type: "image/png", caption: canary("inbound caption") });
  await bo.writes(canary("inbound"));
  await hub.settled();
  for (const id of ids) {
    for (const part of ["trace", "events"]) {
      const { status, body } = await send(`GET /v1/messages/${id}/${part}`);
      assert.equal(status, 200);
      assert.deepEqual(found(JSON.stringify(body), `the ${part} of a message`), []);
    }
  }
  const attempts = await until("the endpoint was called", async () => {
    const { body } = await send(`GET /v1/webhook-endpoints/${endpoint.body.webhook_endpoint_id}/attempts`);
    return body.data.length > 0 && body;
  });
  assert.deepEqual(found(JSON.stringify(attempts), "attempts"), []);
  assertNowhere();
});

test("channel credentials, and webhooks with wrong signatures and unknown bodies", async () => {
  const account = await hub.account("whatsapp");
  const wrong = {
    phone_number_id: "5550001",
    access_token: canary("platform token"),
    app_secret: canary("app secret"),
    verify_token: canary("verify token"),
  };
  const settings = { base_url: `${hub.simulator.url}/whatsapp` };
  const body = { channel: "whatsapp", name: "wrong", credentials: wrong, settings, verify: false };
  await send("POST /v1/channel-accounts", { body: { ...body, verify: true } });
  const made = await send("POST /v1/channel-accounts", { body });
  assert.equal(made.status, 201);
  await send("POST /v1/channel-accounts", {
    body: { ...body, credentials: { ...wrong, app_secret: 7, x: canary("x") } },
  });
  const id = made.body.channel_account_id;
  const to = hub.person("whatsapp").address;
  const message = { to, via: { whatsapp: id }, payload: { type: "text", text: canary("text") } };
  const { body: accepted } = await send("POST /v1/messages", { body: message });
  const ended = await until("it was refused", async () => {
    const { body } = await send(`GET /v1/messages/${accepted.message_id}`);
    return body.deliveries[0]?.attempts > 0 && body;
  });
  assert.deepEqual(found(JSON.stringify(ended.deliveries), "the delivery"), []);
  await send(`POST /v1/channel-accounts/${id}/verify`);
  for (const path of [`/v1/channel-accounts/${id}`, `/v1/channel-accounts/${id}/health`, "/v1/dead-letters"]) {
    assert.deepEqual(found(JSON.stringify((await send(`GET ${path}`)).body), path), []);
  }
  const { body: trace } = await send(`GET /v1/messages/${accepted.message_id}/trace`);
  assert.deepEqual(found(JSON.stringify(trace), "the trace"), []);

  const hook = `/webhooks/whatsapp/${account.channel_account_id}`;
  const event = JSON.stringify({ object: "whatsapp_business_account", entry: canary("event") });
  const signed = (text: string, secret: string) => ({
    "x-hub-signature-256": `sha256=${createHmac("sha256", secret).update(text).digest("hex")}`,
  });
  const proofs = [signed(event, canary("secret")), { "x-hub-signature-256": canary("signature") }];
  for (const headers of proofs)
    assert.equal((await send(`POST ${hook}`, { token: null, body: event, headers })).status, 401);
  await send(`GET ${hook}?hub.mode=subscribe&hub.verify_token=${canary("token")}&hub.challenge=1`, { token: null });
  for (const text of [event, canary("no JSON"), `{"entry": "${canary("half")}`]) {
    const headers = signed(text, defaultWhatsAppAccount.app_secret);
    await send(`POST ${hook}`, { token: null, body: text, headers });
  }
  // Messages that wait for new credentials end with their account.
  assert.equal((await send(`DELETE /v1/channel-accounts/${id}`)).status, 204);
  await hub.settled();
  assertNowhere();
});

// PostgreSQL shows the whole row that broke a rule.
test("rows that the database refuses", async () => {
  const tables = [
    "messages",
    "contacts",
    "users",
    "channel_accounts",
    "webhook_endpoints",
    "participants",
    "log_in_tries",
  ];
  for (const table of tables) await owner.query(`ALTER TABLE ${table} ADD CONSTRAINT broken CHECK (false) NOT VALID`);
  const to = hub.person("whatsapp").address;
  const text = { type: "text", text: canary("text") };
  const statuses: number[] = [];
  const sends: [string, object][] = [
    ["POST /v1/messages", { to, payload: text }],
    ["POST /v1/contacts", { display_name: canary("name"), addresses: [], metadata: { secret: canary("metadata") } }],
    ["PATCH /v1/me", { llm_api_key: canary("key"), preferred_model: canary("model") }],
    ["POST /auth/register", { username: "unlucky", email: "u@example.com", password: canary("password") }],
    ["POST /auth/token", { username: canary("username"), password: canary("password") }],
    [
      "POST /v1/webhook-endpoints",
      { url: `http://127.0.0.1:59999/${canary("path")}`, events: ["*"], description: canary("d") },
    ],
  ];
  for (const [request, body] of sends) statuses.push((await send(request, { body })).status);
  for (const table of tables) await owner.query(`ALTER TABLE ${table} DROP CONSTRAINT broken`);
  assert.ok(statuses.filter((status) => status >= 500).length >= 4, String(statuses));
  assert.ok(
    hub.log.lines.some((line) => line.includes("23514")),
    "the log says that a rule was broken",
  );
  assertNowhere();
});

test("public pages, the audit log and lists contain no secret", async () => {
  for (const path of ["/readyz", "/healthz", "/openapi.json", "/.well-known/jwks.json", "/docs"]) {
    assert.deepEqual(found(JSON.stringify((await send(`GET ${path}`, { token: null })).body), path), []);
  }
  for (let cursor = "", pages = 0; pages < 50; pages += 1) {
    const { body } = await send(`GET /v1/audit-log?limit=200${cursor}`);
    const secrets = found(JSON.stringify(body), "the audit log");
    assert.deepEqual(secrets, []);
    if (body.next_cursor === null) break;
    cursor = `&cursor=${encodeURIComponent(body.next_cursor)}`;
  }
  for (const path of ["/v1/api-keys", "/v1/channel-accounts", "/v1/webhook-endpoints", "/v1/users"]) {
    const { status, body } = await send(`GET ${path}?limit=200`);
    assert.equal(status, 200);
    for (const kind of ["key", "secret", "token", "password"]) {
      const shown = found(JSON.stringify(body), path).filter((name) => name.includes(kind) && !name.includes(" /"));
      assert.deepEqual(shown, []);
    }
  }
  assert.ok(canaries.size > 200, `${canaries.size} words were pushed`);
  assertNowhere();
});

interface Schema {
  type?: string;
  properties?: Record<string, Schema>;
  items?: Schema;
  anyOf?: Schema[];
  enum?: unknown[];
  const?: unknown;
  format?: string;
  pattern?: string;
}
interface Operation {
  requestBody?: { content: Record<string, { schema: Schema }> };
}

/**
 * A body of this shape in which every string is a different word; where it must be of a form, it is not, unless asked.
 */
function fill(schema: Schema, name: string, isFormed: boolean): unknown {
  if (schema.anyOf !== undefined) return fill(schema.anyOf[0]!, name, isFormed);
  if (schema.const !== undefined) return isFormed ? schema.const : canary(name);
  if (schema.enum !== undefined) return isFormed ? schema.enum[0] : canary(name);
  if (schema.properties !== undefined) {
    const fields = Object.entries(schema.properties);
    return Object.fromEntries(fields.map(([field, of]) => [field, fill(of, `${name} ${field}`, isFormed)]));
  }
  if (schema.type === "array") return [fill(schema.items ?? {}, name, isFormed)];
  if (schema.type === "number" || schema.type === "integer") return isFormed ? 1 : canary(name);
  if (schema.type === "boolean") return isFormed ? true : canary(name);
  if (schema.type === "object") return { [isFormed ? "field" : "other"]: canary(name) };
  if (isFormed && schema.format === "email") return `${canary(name)}@example.com`;
  if (isFormed && schema.format === "date-time") return "2030-01-01T00:00:00.000Z";
  if (isFormed && schema.pattern?.includes("[0-9a-fA-F]{8}")) return randomUUID();
  return canary(name);
}

/** Bytes that are no HTTP. */
async function sendRaw(bytes: string): Promise<void> {
  const { hostname, port } = new URL(hub.url);
  const socket = connect({ host: hostname, port: Number(port) });
  socket.write(bytes);
  socket.end();
  let text = "";
  for await (const chunk of socket) text += chunk;
  refusals.push({ request: bytes.split("\r\n", 1)[0]!.split("?", 1)[0]!, text });
}
