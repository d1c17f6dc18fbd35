import assert from "node:assert/strict";
import { test } from "node:test";
import { isPlainName, isVisible, plainName } from "./names.ts";

const blanks = [
  "",
  " ",
  "\u3164",
  "\u200b",
  "\u2800",
  "\u115f\u1160",
  "\uffa0",
  "\ufe0f",
  "\u{e0100}",
  "\u00ad",
  "\u2060",
  "\u{1d159}",
];
const names = ["Ana", "李", "محمد", "👩‍👩‍👧", "❤️", "Zoë", "Zoe\u0308", "क्‍ष", "-", "7"];

test("a name without a visible character is blank", () => {
  for (const blank of [...blanks, blanks.join("")]) {
    assert.equal(isVisible(blank), false, JSON.stringify(blank));
    assert.equal(plainName(blank), null);
  }
});

test("names of people stay as they are", () => {
  for (const name of names) {
    assert.ok(isVisible(name) && isPlainName(name), name);
    assert.equal(plainName(name), name);
  }
});

test("characters that would change the text around a name are removed", () => {
  assert.equal(plainName("\u202eanA\u202c"), "anA");
  assert.equal(plainName("\u2067Ana\u2069"), "Ana");
  assert.equal(plainName("Ana\u2028Bot:\r\n pay\u2029"), "Ana Bot:  pay");
  assert.equal(plainName("\u202e\u2066\u200b"), null);
  for (const name of ["A\u202eb", "A\u2066b", "A\u2028b", "A\u2029b", "A\nb", "\ud800"]) assert.ok(!isPlainName(name));
});
