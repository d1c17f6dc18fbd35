import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { canonicalJson, maxDepth } from "./json.ts";

test("canonical JSON does not depend on the order of fields", () => {
  const json = canonicalJson({ b: [1, { d: null, c: "x" }], a: undefined });
  assert.equal(json, '{"b":[1,{"c":"x","d":null}]}');
  assert.equal(canonicalJson({ b: 1, a: [2, 1] }), canonicalJson({ a: [2, 1], b: 1 }));
  assert.notEqual(canonicalJson([1, 2]), canonicalJson([2, 1]));
});

test("canonical JSON is JSON of the same value, with sorted fields", () => {
  fc.assert(
    fc.property(fc.json({ stringUnit: "grapheme" }), (text) => {
      const value = JSON.parse(text);
      const json = canonicalJson(value)!;
      assert.deepEqual(JSON.parse(json), value);
      // Integers would come first in any object.
      JSON.parse(json, (_name, inside) => {
        if (inside === null || typeof inside !== "object" || Array.isArray(inside)) return inside;
        const names = Object.keys(inside).filter((name) => !/^\d+$/.test(name));
        assert.deepEqual(names, names.toSorted());
        return inside;
      });
    }),
  );
  assert.equal(canonicalJson(JSON.parse('{"10":1,"9":2,"__proto__":3,"":[]}')), '{"":[],"10":1,"9":2,"__proto__":3}');
  const long = Object.fromEntries([..."qwertyuiopasd"].map((name, index) => [name, index]));
  assert.equal(Object.keys(JSON.parse(canonicalJson(long)!)).join(""), "adeiopqrstuwy");
  assert.equal(canonicalJson([]), "[]");
  assert.equal(canonicalJson({ a: {}, b: undefined }), '{"a":{}}');
});

test("canonical JSON refuses more levels than allowed", () => {
  const nested = (levels: number): unknown => (levels === 0 ? 1 : [nested(levels - 1)]);
  assert.notEqual(canonicalJson(nested(maxDepth)), null);
  assert.equal(canonicalJson(nested(maxDepth + 1)), null);
  assert.notEqual(canonicalJson(nested(maxDepth + 1), maxDepth + 1), null);
});
