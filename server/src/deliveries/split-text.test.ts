import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { splitText } from "./split-text.ts";

test("a short text stays whole, a long one is cut at a line end or a space", () => {
  assert.deepEqual(splitText("oi", 10), ["oi"]);
  assert.deepEqual(splitText("0123456789", 10), ["0123456789"]);
  assert.deepEqual(splitText("one two three", 8), ["one two ", "three"]);
  assert.deepEqual(splitText("one two\nthree", 10), ["one two\n", "three"]);
  assert.deepEqual(splitText("0123456789ab", 5), ["01234", "56789", "ab"]);
});

test("the parts are the whole text, none too long, none inside a character, none empty", () => {
  const text = fc.string({
    unit: fc.constantFrom("a", " ", "\n", "é", "👍", "👩‍👩‍👧", "字"),
    minLength: 1,
    maxLength: 400,
  });
  fc.assert(
    fc.property(text, fc.integer({ min: 2, max: 60 }), (whole, maxLength) => {
      const parts = splitText(whole, maxLength);
      assert.equal(parts.join(""), whole);
      for (const part of parts) {
        assert.ok(part.length > 0 && part.length <= maxLength);
        assert.ok(part.isWellFormed());
      }
    }),
    { numRuns: 2_000 },
  );
});

test("cuts a text of the greatest length quickly, for any characters", () => {
  for (const unit of ["a", " ", "\n", "👍", "a "]) {
    const whole = unit.repeat(65_536);
    assert.equal(splitText(whole, 4096).join(""), whole);
  }
});
