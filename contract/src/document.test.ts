/** The document is read by code generators of other languages. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Type } from "typebox";
import { writeDocument } from "./document.ts";
import { operations } from "./operation.ts";
import { asIs, named, nullable } from "./schemas.ts";

const Colour = named("TestColour", Type.Enum(["red", "blue"]));
const Box = named(
  "TestBox",
  Type.Object({
    colour: Colour,
    lid: nullable(Colour, { description: "Null without a lid." }),
    size: nullable(Type.Enum(["small", "large"])),
    labels: Type.Record(Type.String(), Type.String()),
    paint: asIs(Colour),
  }),
);

interface Components {
  components: { schemas: Record<string, { properties: object }> };
}

function writeBox() {
  const { getBox } = operations("Boxes", {
    getBox: { method: "GET", path: "/v1/boxes", summary: "Get a box", access: "public", answers: { 200: Box } },
  });
  const { components } = writeDocument(
    { title: "Test", version: "1", description: "" },
    [getBox],
    [],
  ) as unknown as Components;
  return components.schemas;
}

test("an enum has a type, because generators do not derive it from the values", () => {
  const { TestColour, TestBox } = writeBox();
  assert.deepEqual(TestColour, { type: "string", enum: ["red", "blue"] });
  assert.partialDeepStrictEqual(TestBox!.properties, {
    size: { type: ["string", "null"], enum: ["small", "large", null] },
  });
});

test("a nullable enum with a name is a reference or null", () => {
  assert.partialDeepStrictEqual(writeBox().TestBox!.properties, {
    colour: { $ref: "#/components/schemas/TestColour" },
    lid: { anyOf: [{ $ref: "#/components/schemas/TestColour" }, { type: "null" }], description: "Null without a lid." },
  });
});

test("a record says of what its values are, in the keyword that generators read", () => {
  assert.partialDeepStrictEqual(writeBox().TestBox!.properties, {
    labels: { type: "object", additionalProperties: { type: "string" } },
  });
});

test("a value that is serialized as it is refers to its schema", () => {
  assert.partialDeepStrictEqual(writeBox().TestBox!.properties, {
    paint: { $ref: "#/components/schemas/TestColour" },
  });
});
