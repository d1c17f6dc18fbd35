import assert from "node:assert/strict";
import { test } from "node:test";
import { pino } from "pino";
import { Type } from "typebox";
import { openRestServer } from "./server.ts";

const deps = {
  log: pino({ level: "silent" }),
  authenticate: () => assert.fail("no route asks"),
  dbOf: () => assert.fail("no route asks"),
};
const config = { access: "public" } as const;

test("a wrong schema stops the server when all are compiled at the start, as in npm run check", async () => {
  const app = await openRestServer({ ...deps, describesItself: true });
  app.post("/wrong", { config, schema: { body: Type.Unsafe({ type: "no such type" }) } }, async () => "");
  await assert.rejects(async () => app.ready(), /type/);
});

test("schemas that are compiled at the first request behave as those compiled at the start", async () => {
  for (const describesItself of [true, false]) {
    await using app = await openRestServer({ ...deps, describesItself });
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
