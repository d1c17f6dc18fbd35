import assert from "node:assert/strict";
import { test } from "node:test";
import { pino } from "pino";
import { Type } from "typebox";
import { conversations } from "../../../contract/src/conversations.ts";
import { messages } from "../../../contract/src/messages.ts";
import { route } from "./route.ts";
import { openRestServer } from "./server.ts";
import { compileCheck } from "./validation.ts";

const deps = {
  log: pino({ level: "silent" }),
  authenticate: () => assert.fail("no route asks"),
  dbOf: () => assert.fail("no route asks"),
};
const config = { access: "public" } as const;

test("a wrong schema stops the server when all are compiled at the start", async () => {
  const app = await openRestServer({ ...deps, compilesAtStart: true });
  app.post("/wrong", { config, schema: { body: Type.Unsafe({ type: "no such type" }) } }, async () => "");
  await assert.rejects(async () => app.ready(), /type/);
});

test("schemas that are compiled at the first request behave as those compiled at the start", async () => {
  for (const compilesAtStart of [true, false]) {
    await using app = await openRestServer({ ...deps, compilesAtStart });
    const body = Type.Object({ count: Type.Integer() }, { additionalProperties: false });
    const response = { 200: Type.Object({ count: Type.Integer() }) };
    app.post("/double", { config, schema: { body, response } }, async (request) => ({
      count: request.body.count * 2,
      more: "not in the schema",
    }));
    const send = (payload: object) => app.inject({ method: "POST", url: "/double", payload });
    for (const _again of [1, 2]) {
      assert.deepEqual((await send({ count: 2 })).json(), { count: 4 });
      const refused = await send({ count: "two" });
      assert.equal(refused.statusCode, 400);
      assert.match(refused.json().error.message, /^count in the body must be integer/);
    }
  }
});

// Ids are compared as text further on, and stored in lower case.
test("ids in capitals are the same ids, everywhere in a request", async () => {
  await using app = await openRestServer(deps);
  const sample = messages.sendMessage;
  const echo = {
    ...sample,
    id: "echo",
    path: "/echo/{id}",
    access: "public",
    answers: { 200: Type.Unknown() },
  } as const;
  route(app, echo, async ({ params, body }) => ({ params, body }));
  const list = { ...conversations.listConversations, id: "list", path: "/list", access: "public" } as const;
  route(app, { ...list, answers: { 200: Type.Unknown() } }, async ({ query }) => query);
  const id = "0192f5c4-7d1e-7b3a-9c55-0a8e4f1d2b3c";
  const body = {
    message_id: id,
    conversation_id: id,
    via: { phone: id },
    reply_to: id,
    payload: { type: "reaction", message_id: id, emoji: "ABC" },
  };
  const inCapitals = JSON.parse(JSON.stringify(body).replaceAll(id, id.toUpperCase()));
  const answer = await app.inject({ method: "POST", url: `/echo/${id.toUpperCase()}`, payload: inCapitals });
  assert.deepEqual(answer.json(), { params: { id }, body });
  const listed = await app.inject(`/list?contact_id=${id.toUpperCase()}`);
  assert.equal(listed.json().contact_id, id);
});

// They are a list or an object: once the error for a wrong object was that it is not a list.
test("the error for a wrong parameter of a template names it and the limit", () => {
  const check = compileCheck(messages.sendMessage.body, "body");
  const send = (parameters: unknown) =>
    check({ to: "whatsapp:+5511999990000", payload: { type: "template", name: "hi", language: "en", parameters } });
  const many = Array.from({ length: 101 }, (_, index) => [`p${index}`, "x"] as const);
  const long = "x".repeat(32_769);
  for (const [parameters, field, says] of [
    [[long], "payload.parameters.0", /more than 32768 characters/],
    [{ name: long }, "payload.parameters.name", /more than 32768 characters/],
    [many.map(([, value]) => value), "payload.parameters", /more than 100 items/],
    [Object.fromEntries(many), "payload.parameters", /more than 100 properties/],
    [{ ["n".repeat(21)]: "x" }, "payload.parameters", /^A name in payload\.parameters .* more than 20 characters/],
    [{ name: 7 }, "payload.parameters.name", /must be string/],
  ] as const) {
    assert.throws(() => send(parameters), { code: "VALIDATION_ERROR", message: says, details: { field } });
  }
  for (const parameters of [[], ["Ana"], {}, { name: "Ana" }]) send(parameters);
});
