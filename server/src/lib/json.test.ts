import assert from "node:assert/strict";
import { test } from "node:test";
import { canonicalJson, maxDepth } from "./json.ts";

test("canonical JSON does not depend on the order of fields", () => {
  const json = canonicalJson({ b: [1, { d: null, c: "x" }], a: undefined });
  assert.equal(json, '{"b":[1,{"c":"x","d":null}]}');
  assert.equal(canonicalJson({ b: 1, a: [2, 1] }), canonicalJson({ a: [2, 1], b: 1 }));
  assert.notEqual(canonicalJson([1, 2]), canonicalJson([2, 1]));
});

test("canonical JSON refuses more levels than allowed", () => {
  const nested = (levels: number): unknown => (levels === 0 ? 1 : [nested(levels - 1)]);
  assert.notEqual(canonicalJson(nested(maxDepth)), null);
  assert.equal(canonicalJson(nested(maxDepth + 1)), null);
  assert.notEqual(canonicalJson(nested(maxDepth + 1), maxDepth + 1), null);
});
