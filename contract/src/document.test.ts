/** The document is read by code generators of other languages. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type TSchema, Type } from "typebox";
import type { Access } from "./access.ts";
import { writeDocument } from "./document.ts";
import { type OperationShape, operations } from "./operation.ts";
import type { Json } from "./readable-schemas.ts";
import { asIs, named, nullable, oneOf } from "./schemas.ts";

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

const info = { title: "Test", version: "1", description: "" };

interface Components {
  components: { schemas: Record<string, { properties: object }> };
}

function write(answer: TSchema) {
  const { getBox } = operations("Boxes", {
    getBox: { method: "GET", path: "/v1/boxes", summary: "Get a box", access: "public", answers: { 200: answer } },
  });
  const { components } = writeDocument(info, [getBox], []) as unknown as Components;
  return components.schemas;
}

const writeBox = () => write(Box);

test("an enum has a type, because generators do not derive it from the values", () => {
  const { TestColour, TestBox } = writeBox();
  assert.deepEqual(TestColour, { type: "string", enum: ["red", "blue"] });
  assert.partialDeepStrictEqual(TestBox!.properties, {
    size: { anyOf: [{ type: "string", enum: ["small", "large"] }, { type: "null" }] },
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

test("a boolean constant is a boolean with a description, because generators write an enum of texts for it", () => {
  const { TestLid } = write(named("TestLid", Type.Object({ shut: Type.Literal(true, { description: "The lid." }) })));
  assert.deepEqual(TestLid!.properties, { shut: { type: "boolean", description: "The lid. Always `true`." } });
});

test("webhooks have operation ids and a tag that no operation has, because generators write one class for each tag", () => {
  const body = named("TestWebhook", Type.Object({ size: Type.Integer() }));
  const { box } = operations("Boxes", {
    box: { method: "GET", path: "/v1/box", summary: "Get it", access: "public", answers: { 204: null } },
  });
  const { tags, webhooks } = writeDocument(info, [box], [{ name: "box.lid_shut", body }]);
  assert.deepEqual(tags, [{ name: "Boxes" }, { name: "Webhooks" }]);
  assert.partialDeepStrictEqual(webhooks, {
    "box.lid_shut": { post: { operationId: "boxLidShutWebhook", tags: ["Webhooks"] } },
  });
});

test("lines of JSON are a text, because generators would read all of them as one value", () => {
  const { listBoxes } = operations("Boxes", {
    listBoxes: {
      method: "GET",
      path: "/v1/boxes",
      summary: "List them",
      access: "public",
      answers: { 200: Box },
      contentType: "application/x-ndjson",
    },
  });
  const document = writeDocument({ title: "Test", version: "1", description: "" }, [listBoxes], []);
  const schema = { type: "string", description: "Each line is the JSON of one `TestBox`." };
  assert.partialDeepStrictEqual(document.paths, {
    "/v1/boxes": { get: { responses: { 200: { content: { "application/x-ndjson": { schema } } } } } },
  });
});

test("a discriminator names the component of each value", () => {
  const round = named("TestCircle", Type.Object({ shape: Type.Literal("circle") }));
  const angular = named("TestPolygon", Type.Object({ shape: Type.Enum(["triangle", "square"]) }));
  const { TestShape } = write(named("TestShape", oneOf("shape", [round, angular])));
  assert.deepEqual(TestShape, {
    type: "object",
    required: ["shape"],
    discriminator: {
      propertyName: "shape",
      mapping: {
        circle: "#/components/schemas/TestCircle",
        triangle: "#/components/schemas/TestPolygon",
        square: "#/components/schemas/TestPolygon",
      },
    },
    oneOf: [{ $ref: "#/components/schemas/TestCircle" }, { $ref: "#/components/schemas/TestPolygon" }],
  });
});

test("a schema of several types is a choice of schemas of one type, because generators read only one", () => {
  const label = { type: ["string", "object"], minLength: 1, required: ["text"], properties: { text: Type.String() } };
  const { TestLabel } = write(named("TestLabel", Type.Unsafe({ ...label, description: "A label." })));
  assert.deepEqual(TestLabel, {
    anyOf: [
      { type: "string", minLength: 1 },
      { type: "object", required: ["text"], properties: { text: { type: "string" } } },
    ],
    description: "A label.",
  });
  const sized = Type.Unsafe({ type: ["string", "number"], maxItems: 1 });
  assert.throws(() => write(named("TestSize", sized)), /maxItems/);
});

interface Shown {
  description: string;
  responses: Record<string, { description: string }>;
}

function showOperation(answer: TSchema, more: object = {}): Shown {
  const shape = { method: "GET", path: "/v1/boxes", summary: "Get boxes", access: "public", answers: { 200: answer } };
  const { getBoxes } = operations("Boxes", { getBoxes: { ...shape, ...more } as OperationShape });
  const { paths } = writeDocument(info, [getBoxes], []) as unknown as { paths: { "/v1/boxes": { get: Shown } } };
  return paths["/v1/boxes"].get;
}

test("the description of a response says what it holds, by the name or the description of its schema", () => {
  const contentOf = (answer: TSchema, more = {}) => showOperation(answer, more).responses[200]!.description;
  assert.equal(contentOf(Box), "The test box.");
  assert.equal(contentOf(named("TestApiKeyPage", Type.Object({ data: Type.Array(Box) }))), "A page of test API keys.");
  assert.equal(contentOf(named("TestEntryPage", Type.Object({ data: Type.Array(Box) }))), "A page of test entries.");
  const lines = { contentType: "application/x-ndjson" };
  assert.equal(contentOf(named("TestRecord", Type.Object({})), lines), "All test records, one a line.");
  assert.equal(contentOf(named("TestMe", Type.Object({}, { description: "You." }))), "You.");
  assert.equal(contentOf(Type.String({ description: "A text." }), { contentType: "text/plain" }), "A text.");
  assert.throws(() => contentOf(Type.String()), /getBoxes does not say what its response holds/);
});

test("the description of an operation says which role and scope it requires", () => {
  const described = (access: Access, description?: string) => showOperation(Box, { access, description }).description;
  assert.equal(
    described({ role: "agent", scope: "contacts:read" }),
    "Requires the role `agent` or `admin`. An API key requires the scope `contacts:read`.",
  );
  assert.equal(described({ role: "admin" }, "Boxes."), "Boxes.\n\nRequires the role `admin`.");
  assert.equal(
    described({ role: "member", scope: ["events:read", "messages:read"] }),
    "An API key requires the scopes `events:read`, `messages:read`.",
  );
  assert.equal(described({ role: "member", session: true }), "Requires a user who has logged in: API keys get 403.");
  assert.equal(described("public"), undefined);
});

test("the response of a write to a key that cannot read has a schema of its own, which requires only what it shows", () => {
  const Lid = named("TestLidOfChest", Type.Object({ lid_id: Type.String(), colour: Colour, size: Type.Integer() }));
  const Chest = named(
    "TestChest",
    Type.Object({ chest_id: Type.String(), name: Type.String(), key: Type.String(), lids: Type.Array(Lid) }),
    { chest_id: "c", name: "Oak", key: "k", lids: [] },
  );
  const access = { role: "member", scope: "contacts:write" } as const;
  const shape = { method: "PATCH", summary: "Change a chest", access, answers: { 200: Chest } } as const;
  const { changeChest, makeChest } = operations("Chests", {
    changeChest: { ...shape, path: "/v1/chest", shows: ["key", "lids.size"] },
    makeChest: { ...shape, path: "/v1/chests", shows: "all" },
  });
  const { paths, components } = writeDocument(info, [changeChest, makeChest], []) as unknown as Components & Json;
  const answerOf = (schema: string) => ({
    patch: { responses: { 200: { content: { "application/json": { schema: { $ref: schema } } } } } },
  });
  assert.partialDeepStrictEqual(paths, {
    "/v1/chests": answerOf("#/components/schemas/TestChest"),
    "/v1/chest": answerOf("#/components/schemas/PartialTestChest"),
  });
  const { TestChest, PartialTestChest, PartialTestLidOfChest } = components.schemas;
  assert.partialDeepStrictEqual(TestChest, { required: ["chest_id", "name", "key", "lids"] });
  assert.partialDeepStrictEqual(PartialTestLidOfChest, { required: ["lid_id", "size"] });
  assert.deepEqual(PartialTestChest, {
    type: "object",
    description:
      "A `TestChest` that may lack fields. To an API key without `contacts:read`, the response shows only ids, the values " +
      "that the request sent, and the other fields that are required here.",
    required: ["chest_id", "key", "lids"],
    properties: {
      ...(TestChest as { properties: object }).properties,
      lids: { type: "array", items: { $ref: "#/components/schemas/PartialTestLidOfChest" } },
    },
  });
});
