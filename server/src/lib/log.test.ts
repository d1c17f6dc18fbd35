import assert from "node:assert/strict";
import { test } from "node:test";
import { openLogger } from "./log.ts";

function lineOf(error: unknown) {
  const lines: string[] = [];
  openLogger("info", { write: (line) => void lines.push(line) }).error({ err: error }, "it failed");
  assert.equal(lines.length, 1);
  return { text: lines[0]!, err: JSON.parse(lines[0]!).err };
}

test("logs a database error with its code and context, without the values of a row", () => {
  const error = Object.assign(new Error('new row for relation "users" violates check constraint "c"'), {
    code: "23514",
    detail: "Failing row contains (canary).",
    where: "canary",
    constraint: "c",
    table: "users",
    parameters: ["canary"],
  });
  const { text, err } = lineOf(error);
  assert.ok(!text.includes("canary"));
  assert.deepEqual([err.code, err.constraint, err.table, err.message], ["23514", "c", "users", error.message]);
  assert.match(err.stack, /^at .*log\.test\.ts/);
});

test("logs messages without the input that they quote, in causes too", () => {
  const syntax = (() => {
    try {
      return JSON.parse("canary, which is no JSON");
    } catch (error) {
      return error;
    }
  })();
  const value = Object.assign(new Error('invalid input syntax for type uuid: "canary"'), { code: "22P02" });
  const url = (() => {
    try {
      return new URL("canary");
    } catch (error) {
      return error;
    }
  })();
  for (const cause of [syntax, value, url]) {
    assert.ok(!lineOf(cause).text.includes("canary"));
    const { text, err } = lineOf(new Error("it did not work", { cause }));
    assert.ok(!text.includes("canary"));
    assert.equal(err.message, "it did not work");
    assert.ok(err.cause.message.length > 0);
  }
});

test("what is no error is not written down, and causes that go in circles end", () => {
  assert.ok(!lineOf("canary").text.includes("canary"));
  assert.ok(!lineOf({ token: "canary" }).text.includes("canary"));
  const circle = new Error("one");
  circle.cause = circle;
  assert.ok(lineOf(circle).text.length < 20_000);
});
