/** How the HTTP server handles unusual requests. Source: RFC 9110 and 9112. */
import assert from "node:assert/strict";
import { before, test } from "node:test";
import { Type } from "typebox";
import { openApiText } from "../../../contract/src/contract.ts";
import { closed, pageQuery } from "../../../contract/src/schemas.ts";
import { version } from "../lib/version.ts";
import { closeAfterTests } from "../testing/close-after-tests.ts";
import { openRestWithoutHub } from "../testing/rest-without-hub.ts";
import { openDoor, parseAnswer } from "../testing/test-http-server.ts";
import type { App } from "./app.ts";
import { originOf } from "./server.ts";

let whole: App;
const opened = closeAfterTests();
before(async () => {
  whole = opened.adopt(await openRestWithoutHub(), (app) => app.close());
});

async function say(door: Awaited<ReturnType<typeof openDoor>>, request: string) {
  const { socket, ended } = await door.dial();
  socket.write(request);
  return parseAnswer(await ended);
}

test("HTTP/1.0 needs no Host, HTTP/1.1 exactly one", async () => {
  await using door = await openDoor();
  const { status } = await say(door, "GET /hello HTTP/1.0\r\n\r\n").catch(() => ({ status: 0 }));
  assert.equal(status, 200);
  for (const hosts of ["", "host: a\r\nhost: b\r\n", "host: a\r\nHOST: a\r\n"]) {
    const { status, error } = await say(door, `GET /hello HTTP/1.1\r\n${hosts}connection: close\r\n\r\n`);
    assert.deepEqual([status, error.code], [400, "VALIDATION_ERROR"], hosts);
  }
});

test("a wrong method on a known path gets 405 with the allowed methods", async () => {
  const cases: [method: "GET" | "PUT" | "DELETE" | "OPTIONS", url: string, allow: string][] = [
    ["PUT", "/v1/messages?x=1", "POST"],
    ["DELETE", "/v1/me", "GET, HEAD, PATCH"],
    ["PUT", "/v1/contacts/abc", "DELETE, GET, HEAD, PATCH"],
    ["OPTIONS", "/healthz", "GET, HEAD"],
    ["GET", "/auth/token", "POST"],
  ];
  for (const [method, url, allow] of cases) {
    const answer = await whole.inject({ method, url });
    assert.deepEqual([answer.statusCode, answer.json().error.code], [405, "METHOD_NOT_ALLOWED"], url);
    assert.equal(answer.headers.allow, allow);
  }
  for (const url of ["/v1/nothing", "/v1/contacts/a/b/c", "/v1/me/"]) {
    const answer = await whole.inject({ method: "PUT", url });
    assert.deepEqual([answer.statusCode, answer.headers.allow], [404, undefined], url);
  }
});

test("the root redirects browsers to the documentation, and gives programs the URLs as JSON", async () => {
  const page = await whole.inject({
    method: "GET",
    url: "/",
    headers: { accept: "text/html,application/xhtml+xml,*/*;q=0.8" },
  });
  assert.deepEqual([page.statusCode, page.headers.location], [302, "/docs"]);
  for (const headers of [{}, { accept: "*/*" }, { accept: "application/json" }]) {
    const answer = await whole.inject({ method: "GET", url: "/", headers });
    assert.equal(answer.statusCode, 200);
    assert.deepEqual([answer.json().name, answer.json().openapi_url], ["Chat4All", "/openapi.json"]);
  }
});

test("a path outside of the folder of the documentation pages gets 404", async () => {
  for (const url of [
    "/docs/static/%2e%2e/package.json",
    "/docs/static/%2e%2e%2f%2e%2e/x",
    "/docs/static/..%5cx",
    "/docs/static/no",
  ]) {
    const answer = await whole.inject({ method: "GET", url });
    assert.deepEqual([answer.statusCode, answer.json().error.code], [404, "RESOURCE_NOT_FOUND"], url);
  }
});

test("numbers in a query must be written in digits", async () => {
  await using door = await openDoor({}, (app) => {
    const schema = { querystring: Type.Object(pageQuery, closed) };
    app.get("/page", { config: { access: "public" }, schema }, async ({ query }) => ({ limit: query.limit }));
  });
  for (const limit of ["0x10", "1e1", "%205", "5%20", "", "0b1", "+5", "1_0", "٣", "NaN"]) {
    const answer = await fetch(`${door.origin}/page?limit=${limit}`);
    assert.equal(answer.status, 400, limit);
    assert.equal(((await answer.json()) as ErrorAnswer).error.details.field, "limit");
  }
  assert.deepEqual(await (await fetch(`${door.origin}/page?limit=10`)).json(), { limit: 10 });
  assert.deepEqual(await (await fetch(`${door.origin}/page`)).json(), { limit: 50 });
});

test("a part of a path that is too long is refused", async () => {
  await using door = await openDoor({}, (app) => {
    app.get("/things/:id", { config: { access: "public" } }, async () => ({}));
  });
  const answer = await fetch(`${door.origin}/things/${"a".repeat(500)}`);
  assert.equal(answer.status, 400);
  assert.match(((await answer.json()) as ErrorAnswer).error.message, /path is too long/);
});

test("a query or a body that is not UTF-8 is refused", async () => {
  await using door = await openDoor();
  for (const query of ["a=%FF", "a=%C3", "%ED%A0%80=1", "a=%", "a=%zz"]) {
    assert.equal((await fetch(`${door.origin}/hello?${query}`)).status, 400, query);
  }
  assert.equal((await fetch(`${door.origin}/hello?a=%C3%A9+%25`)).status, 200);
  const body = Buffer.concat([Buffer.from('{"text":"'), Buffer.from([0xff]), Buffer.from('"}')]);
  const answer = await fetch(`${door.origin}/echo`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body,
  });
  assert.equal(answer.status, 400);
  assert.match(((await answer.json()) as ErrorAnswer).error.message, /UTF-8/);
});

test("a value from a proxy counts as the client's IP address only if it is an IP address", async () => {
  const cases: [forwarded: string, trusted: number | string[], address: string][] = [
    ["192.0.2.7", 1, "192.0.2.7"],
    ["192.0.2.7:4711", 1, "192.0.2.7"],
    ["[2001:db8::1]:4711", 1, "2001:db8::1"],
    ["unknown", 1, "127.0.0.1"],
    ["<script>", ["127.0.0.1"], "127.0.0.1"],
    ["<script>, 192.0.2.7", 2, "192.0.2.7"],
    ["198.51.100.1, 192.0.2.7", 1, "192.0.2.7"],
  ];
  for (const [forwarded, trustedProxies, address] of cases) {
    await using door = await openDoor({ trustedProxies }, (app) => {
      app.get("/origin", { config: { access: "public" } }, async (request) => originOf(request));
    });
    const answer = await fetch(`${door.origin}/origin`, { headers: { "x-forwarded-for": forwarded } });
    assert.equal(((await answer.json()) as { ip: string }).ip, address, forwarded);
  }
});

test("the error for a body that is too long names the limit of its route", async () => {
  await using door = await openDoor({}, (app) => {
    app.post("/larger", { config: { access: "public" }, bodyLimit: 2 * 1024 * 1024 }, async () => ({}));
  });
  for (const [path, limit] of [
    ["/echo", /larger than 1 MiB/],
    ["/larger", /larger than 2 MiB/],
  ] as const) {
    const answer = await fetch(door.origin + path, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ text: "x".repeat(3 * 1024 * 1024) }),
    });
    assert.equal(answer.status, 413);
    assert.match(((await answer.json()) as ErrorAnswer).error.message, limit);
  }
  // The same of a real route.
  const webhook = await whole.inject({
    method: "POST",
    url: "/webhooks/whatsapp/any",
    headers: { "content-type": "application/json" },
    payload: Buffer.alloc(5 * 1024 * 1024, " "),
  });
  assert.equal(webhook.statusCode, 413);
  assert.match(webhook.json().error.message, /larger than 4 MiB/);
});

// Code generators of other languages compile the patterns unchanged.
test("the document uses only patterns that all languages share", async () => {
  const document = JSON.stringify(JSON.parse(openApiText(version)));
  const patterns = [...document.matchAll(/"pattern":("(?:[^"\\]|\\.)*")/g)].map(
    ([, text]) => JSON.parse(text!) as string,
  );
  assert.ok(patterns.length > 20);
  for (const pattern of patterns) assert.doesNotMatch(pattern, /\\[pPu]|\(\?<|\(\?!|\(\?=/, pattern);
});

test("the document gives the formats of cursors, addresses and email addresses", async () => {
  const { paths, components } = JSON.parse(openApiText(version)) as Document;
  const [list, create] = [paths["/v1/contacts"]!.get!, paths["/v1/contacts"]!.post!];
  const query = (name: string) => list.parameters!.find((parameter) => parameter.name === name)!.schema;
  const body = ({ requestBody }: Operation) => {
    const { schema } = requestBody!.content["application/json"];
    return (schema.$ref === undefined ? schema : components.schemas[schema.$ref.split("/").at(-1)!]!).properties!;
  };
  const address = "^[a-z]{1,30}:.+$";
  assert.equal(query("cursor").pattern, "^[A-Za-z0-9_-]+$");
  for (const { name, schema } of paths["/v1/events"]!.get!.parameters!) {
    if (name !== "limit") assert.equal(schema.pattern, "^[0-9]{1,15}(-[0-9a-z]{1,6})?$", name);
  }
  assert.equal(query("address").pattern, address);
  assert.equal(body(create).addresses!.items!.pattern, address);
  assert.equal(body(paths["/v1/messages"]!.post!).to!.pattern, address);
  assert.equal(body(paths["/auth/register"]!.post!).email!.format, "email");
});

interface Document {
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, Shape> };
}

interface Shape {
  $ref?: string;
  properties?: Record<string, Shape>;
  pattern?: string;
  format?: string;
  items?: Shape;
}

interface Operation {
  parameters?: { name: string; schema: Shape }[];
  requestBody?: { content: { "application/json": { schema: Shape } } };
}

interface ErrorAnswer {
  error: { message: string; details: { field?: string } };
}
