import assert from "node:assert/strict";
import { test } from "node:test";
import { cleanId, cleanText, maxIdLength } from "./clean.ts";
import { locationOf, nameOf, reactionOf, textOf, timeOf } from "./inbound.ts";

// One message that PostgreSQL refuses would fail forever and take its whole webhook with it.
test("characters that cannot be stored are replaced", () => {
  assert.equal(cleanText("a\0b\ud83dc👍", 100), "a\ufffdb\ufffdc👍");
  assert.equal(cleanText("👍".repeat(10), 3), "👍👍👍");
  assert.equal(cleanId("a\0"), "");
  assert.equal(cleanId("\udc00"), "");
  assert.equal(cleanId("x".repeat(maxIdLength + 1)), "");
});

test("marks an empty message, and cuts one that is too long", () => {
  assert.deepEqual(textOf(""), { type: "text", text: "[empty message]" });
  const long = textOf("👍".repeat(70_000));
  assert.equal(long.type === "text" && [...long.text].length, 65_536);
});

test("a place with impossible coordinates becomes a text", () => {
  assert.deepEqual(locationOf(91, 0, "x"), { type: "text", text: "[location] x" });
  assert.deepEqual(locationOf(Number.NaN, 0, ""), { type: "text", text: "[location]" });
  assert.deepEqual(locationOf(90, -180, ""), { type: "location", latitude: 90, longitude: -180 });
});

test("a reaction without a target becomes a text", () => {
  assert.deepEqual(reactionOf("👍", ""), { type: "text", text: "[reaction] 👍" });
  assert.deepEqual(reactionOf("", "m"), { type: "reaction", message_id: "", emoji: "" });
});

test("an impossible time becomes 0", () => {
  assert.equal(timeOf(1_763_640_000), 1_763_640_000_000);
  for (const seconds of [0, -1, Number.NaN, Number.POSITIVE_INFINITY, 1e12]) assert.equal(timeOf(seconds), 0);
});

test("a blank name becomes null", () => {
  assert.equal(nameOf("  "), null);
  assert.equal(nameOf(" Ana "), "Ana");
});
