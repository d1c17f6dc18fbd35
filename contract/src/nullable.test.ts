import assert from "node:assert/strict";
import { test } from "node:test";
import { Ajv } from "ajv";
import fastify from "fastify";
import { type TSchema, Type } from "typebox";
import { nullable } from "./schemas.ts";

const cases: [schema: TSchema, value: unknown, wrong: unknown][] = [
  [Type.String({ minLength: 2 }), "text", 7],
  [Type.Integer(), 7, "7"],
  [Type.Literal("template"), "template", "text"],
  [Type.Enum(["gone", "failing"]), "gone", "here"],
  [Type.Array(Type.String()), ["a"], [{}]],
  [Type.Object({ at: Type.String() }), { at: "now" }, {}],
  [Type.Record(Type.String(), Type.Unknown()), { a: [1, null] }, "a"],
];

test("a nullable schema takes its values and null, nothing else, and serializes both", async () => {
  await using app = fastify();
  for (const [index, [schema, value, wrong]] of cases.entries()) {
    const validate = new Ajv({ strict: false }).compile(nullable(schema));
    assert.deepEqual([validate(value), validate(null), validate(wrong)], [true, true, false], JSON.stringify(schema));
    const response = { 200: Type.Object({ value: nullable(schema), none: nullable(schema) }) };
    app.get(`/${index}`, { schema: { response } }, async () => ({ value, none: null }));
  }
  for (const [index, [, value]] of cases.entries()) {
    assert.deepEqual((await app.inject(`/${index}`)).json(), { value, none: null });
  }
});
