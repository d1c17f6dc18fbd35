import assert from "node:assert/strict";
import { test } from "node:test";
import { derivedId, isUuid, newId } from "./ids.ts";
import { isStorable, toStorable } from "./json.ts";

test("ids of one process sort in the order in which they were made, also within a millisecond and when the clock goes back", () => {
  const base = 4_000_000_000_000;
  const ids = [...Array(10_000).keys()].map((i) => newId(base + Math.floor(i / 3_000) - (i % 7 === 0 ? 5 : 0)));
  assert.deepEqual(ids.toSorted(), ids);
  assert.equal(new Set(ids).size, ids.length);
  for (const id of ids) assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
});

test("an id begins with its time", () => {
  const at = 5_000_000_000_000;
  assert.equal(Number.parseInt(newId(at).replaceAll("-", "").slice(0, 12), 16), at);
});

test("a derived id is the same for the same parts, and another for others", () => {
  const id = derivedId(1_760_000_000_000, "message", "ana", "");
  assert.equal(derivedId(1_760_000_000_000, "message", "ana", ""), id);
  assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab]/);
  const others = [
    derivedId(1_760_000_000_001, "message", "ana", ""),
    derivedId(1_760_000_000_000, "message", "ana"),
    derivedId(1_760_000_000_000, "", "message", "ana"),
    derivedId(1_760_000_000_000, "messageana", ""),
  ];
  assert.equal(new Set([id, ...others]).size, 5);
});

// Steps that run again after an upgrade must find what they wrote before.
test("derived ids stay the same from version to version", () => {
  assert.equal(derivedId(1_760_000_000_000, "message", "ana"), "0199c82c-c000-8d9d-b47a-387a29adeb94");
  assert.equal(derivedId(2 ** 48 - 1, "ünï", "👍"), "ffffffff-ffff-8912-9f6a-1bc680b6a37d");
});

test("what is a uuid and what is none", () => {
  assert.ok(isUuid(newId(1)));
  assert.ok(isUuid(newId(1).toUpperCase()));
  for (const text of ["", "x", `urn:uuid:${newId(1)}`, `${newId(1)} `, newId(1).slice(1)])
    assert.equal(isUuid(text), false);
});

test("JSON that PostgreSQL cannot hold is known and mended", () => {
  const storable = ["oi", "👍", "\\u0000 written out", "\\\\u0000", "a\\", "\ufffd", "\u0001"];
  for (const text of storable) {
    const json = JSON.stringify({ [text]: text });
    assert.equal(isStorable(json), true, json);
    assert.equal(toStorable(json), json);
  }
  for (const text of ["\u0000", "\ud800", "\udc00 later", "back\\\u0000slash", "\ud83d\ud83d"]) {
    for (const value of [text, { [text]: 1 }, [text]]) {
      const json = JSON.stringify(value);
      assert.equal(isStorable(json), false, json);
      const mended = toStorable(json);
      assert.equal(isStorable(mended), true, mended);
      JSON.parse(mended);
    }
  }
  assert.equal(JSON.parse(toStorable(JSON.stringify("a\u0000b"))), "a\ufffdb");
});
