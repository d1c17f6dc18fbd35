/**
 * No request holds the event loop for long, even with the worst body: otherwise a few requests stall all others. Each
 * route of the hub's OpenAPI document gets the worst bodies that it refuses and the worst that it accepts.
 */

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { before, describe, test } from "node:test";
import { closeAfterTests } from "../server/src/testing/close-after-tests.ts";
import { authorizationTable } from "./src/authorization-table.ts";
import type { TestHub } from "./src/harness.ts";
import { openLoopMeter } from "./src/loop-delay.ts";
import { readOpenApi } from "./src/openapi.ts";
import { requestOfTable, type Sent } from "./src/request-of-table.ts";
import { openHome, type Things } from "./src/things.ts";
import type { Workspace } from "./src/workspace.ts";
import { hostileBodies, hostileFields, largest, type Schema } from "./src/worst-bodies.ts";

const opened = closeAfterTests();
const meter = opened.use(openLoopMeter());
let hub: TestHub;
let home: Workspace;
let things: Things;
/** Schemas of bodies, by route. */
let schemas: Map<string, Schema | null>;
/** Routes that take a `limit`. */
let lists: Set<string>;

before(async () => {
  ({ hub, home, things } = await openHome(opened));
  ({ schemas, lists } = await readDocument());
});

test("the table of valid bodies has every route", () => {
  assert.deepEqual([...schemas.keys()].sort(), Object.keys(authorizationTable).sort());
});

const channelSecret = "a-secret-of-the-platform";

describe("a platform's webhook does not hold the event loop longer, not even while it is parsed", () => {
  for (const [name, body] of Object.entries(hostileBodies)) {
    test(name, async () => {
      const { channel_account_id: id } = await home.admin.client.channelAccounts.create({
        channel: "telegram",
        name: "A bot",
        credentials: { bot_token: `${newNumber()}:${"a".repeat(35)}`, secret_token: channelSecret },
        settings: { base_url: `${hub.simulator.url}/telegram` },
        verify: false,
      });
      const headers = { "content-type": "application/json", "x-telegram-bot-api-secret-token": channelSecret };
      const request = { url: `${hub.url}/webhooks/telegram/${id}`, method: "POST", headers };
      // Larger than other bodies may be, but not too large for a webhook.
      const { status } = await expectQuick(name, { ...request, body: body + " ".repeat(1024 * 1024) }, () =>
        hub.settled(),
      );
      assert.equal(status, 200);
    });
  }
});

function isBatch(route: string): boolean {
  return route === "POST /v1/messages/batch";
}

let numbers = 100_000;
function newNumber(): number {
  numbers += 1;
  return numbers;
}

describe("no request holds the event loop", () => {
  // Batches leave a long history, which replays would send again.
  const routes = Object.keys(authorizationTable).sort((a, b) => Number(isBatch(a)) - Number(isBatch(b)));
  for (const route of routes) {
    if (route.startsWith("POST /webhooks/")) continue;
    test(route, async () => {
      const request = await requestTo(route);
      if (request.method === "GET") {
        await expectQuick(`${route} with a long query`, { ...request, url: longQuery(request) });
        return;
      }
      for (const [name, body] of Object.entries(hostileBodies)) {
        const { status } = await expectQuick(`${route} with ${name}`, { ...request, body });
        assert.ok(status >= 400 || !schemas.get(route), `${route} with ${name}: ${status}`);
      }
      const schema = schemas.get(route);
      if (!schema) return;
      const valid = JSON.parse(request.body!);
      for (const [name, body] of hostileFields(schema, valid))
        await expectQuick(`${route} with ${name}`, { ...request, body });
      for (const items of ["few", "many"] as const) {
        const body = JSON.stringify(largest(schema, valid, items));
        await expectQuick(`${route} with the largest, ${items}`, { ...request, body });
      }
    });
  }
});

// Otherwise the test of the largest bodies would measure refusals.
test("the largest bodies are accepted", async () => {
  for (const route of ["POST /v1/contacts", "POST /v1/messages", "POST /v1/messages/batch"]) {
    const request = await requestTo(route);
    for (const items of ["few", "many"] as const) {
      const body = JSON.stringify(largest(schemas.get(route)!, JSON.parse(request.body!), items));
      if (items === "few") assert.ok(body.length > 10_000, `${route}: the largest body has ${body.length} characters`);
      const { status, text } = await meter.send({ ...request, body });
      assert.ok(status < 300 && !text.includes("VALIDATION"), `${route}, ${items}: ${status} ${text}`);
    }
  }
});

// Each of them was compared with the whole of the first one.
test("a batch that repeats one id does not hold the event loop", async () => {
  const request = await requestTo("POST /v1/messages/batch");
  const [valid] = JSON.parse(request.body!).messages;
  const message = { ...valid, message_id: randomUUID() };
  const metadata = Object.fromEntries(Array.from({ length: 990 }, (_, index) => [`field${index}`, index]));
  const messages = [{ ...message, metadata }, ...Array.from({ length: 999 }, () => message)];
  const answer = await expectQuick("the batch", { ...request, body: JSON.stringify({ messages }) });
  assert.match(answer.text, /IDEMPOTENCY_CONFLICT/);
});

test("no list holds the event loop, even with long items", async () => {
  assert.ok(lists.has("GET /v1/conversations/{id}/messages"));
  for (const route of lists) {
    const request = await requestTo(route);
    await expectQuick(route, { ...request, url: `${request.url}?limit=200` });
  }
});

function requestTo(route: string): Promise<Sent> {
  return requestOfTable(route, { url: hub.url, workspace: home, things });
}

function longQuery({ url }: Sent): string {
  const parameters = Array.from({ length: 500 }, (_, index) => `limit=${index}&query=%5C${"a".repeat(4)}&q${index}=1`);
  return `${url}?${parameters.join("&").slice(0, 14_000)}`;
}

async function expectQuick(name: string, request: Sent, settled?: () => Promise<void>) {
  const { answer, heldMs, allowedMs } = await meter.measure(request, settled);
  assert.ok(
    heldMs <= allowedMs,
    `${name} held the event loop for ${heldMs.toFixed(1)} ms: ${answer.text.slice(0, 300)}`,
  );
  assert.ok(answer.status !== 0 && answer.status < 500, `${name}: ${answer.status} ${answer.text}`);
  if (answer.status >= 400) assert.ok(answer.length < 3_000, `${name} got a response of ${answer.length} characters`);
  return answer;
}

async function readDocument() {
  type Operation = {
    requestBody?: { content: Record<string, { schema: Schema }> };
    parameters?: { name: string }[];
  };
  const document = await readOpenApi<{
    paths: Record<string, Record<string, Operation>>;
  }>(hub.url);
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ route: `${method.toUpperCase()} ${path}`, ...operation })),
  );
  return {
    schemas: new Map(
      operations.map(({ route, requestBody }) => [route, requestBody?.content["application/json"]?.schema ?? null]),
    ),
    lists: new Set(
      operations
        .filter(({ parameters = [] }) => parameters.some(({ name }) => name === "limit"))
        .map(({ route }) => route),
    ),
  };
}
