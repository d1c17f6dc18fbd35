import assert from "node:assert/strict";
import { test } from "node:test";
import { checkJsonText, type JsonLimits, parseJsonText, UnreadableJson } from "./json-text.ts";

const limits: JsonLimits = { maxDepth: 4, maxFields: 3, maxValues: 10, isExact: true };

const parse = (text: string | Buffer, given = limits) => parseJsonText(Buffer.from(text), given);

function refused(text: string | Buffer, message: RegExp, path?: string): void {
  assert.throws(
    () => parse(text),
    (error) => error instanceof UnreadableJson && message.test(error.message) && error.path === path,
    String(text).slice(0, 80),
  );
}

test("reads JSON with any text in its strings", () => {
  const value = { 'a"{[,:\\': ["}]\\", -1.5e3, true, null], "é\u2028": {} };
  assert.deepEqual(parse(JSON.stringify(value)), value);
  // None of these is nested: an escaped quote does not end the string.
  for (const text of ['"\\"[[[[[[["', '"a\\"b{{{{{{"']) assert.equal(parse(text), JSON.parse(text));
  for (const text of ['"\\\\"', '"\\\\\\""', ' [ "\\"" , "\\\\" ] ', "7"])
    assert.deepEqual(parse(text), JSON.parse(text));
});

test("refuses invalid JSON", () => {
  for (const text of ["", "{", '"', '"\\', "[1", "01", "{]", "nul", "\\", "1 2", "'a'", "[1,]", "1e", "-"]) {
    refused(text, /is not valid JSON/);
  }
});

test("refuses bytes that are not UTF-8", () => {
  refused(Buffer.from([0x22, 0xff, 0x22]), /UTF-8/);
  // Half of a surrogate pair, encoded.
  refused(Buffer.from([0x22, 0xed, 0xa0, 0x80, 0x22]), /UTF-8/);
});

test("refuses what exceeds a limit, and accepts what does not", () => {
  assert.deepEqual(parse("[[[[]]]]"), [[[[]]]]);
  refused("[[[[[]]]]]", /nested more than 4 deep/);
  assert.deepEqual(parse('[{"a":1,"b":1,"c":1}]'), [{ a: 1, b: 1, c: 1 }]);
  refused('[{"a":1,"b":1,"c":1,"d":1}]', /an object with more than 3 fields/);
  // Fields of siblings are not counted together.
  assert.equal((parse('[{"a":1,"b":1},{"a":1,"b":1}]') as unknown[]).length, 2);
  refused("[1,2,3,4,5,6,7,8,9,10,11,12]", /more than 10 fields and elements/);
  refused("[[],[],[],[],[],[]]", /more than 10 fields and elements/);
  // Comparing each of them takes a microsecond.
  const many = { ...limits, maxValues: 3_000 };
  const numbers = (count: number) => `[${Array(count).fill("1.50e0")}]`;
  assert.equal((parse(numbers(2_000), many) as unknown[]).length, 2_000);
  assert.throws(() => parse(numbers(2_001), many), /more than 2000 numbers/);
});

test("counts the fields of each text from 0", () => {
  for (const text of ['[{"a":1,"b":1,"c":1}]', '"a":1,"b":1', '{"a":{"b":1,"c":1', '{"a":1,"b":{"c":1,"d":1}}'])
    for (let time = 1; time <= 3; time += 1) assert.doesNotThrow(() => checkJsonText(Buffer.from(text), limits), text);
});

test("accepts numbers that a double keeps exactly", () => {
  const kept = ["0", "-0", "0.0", "1.10", "1e3", "1E+3", "1e21", "9007199254740991", "-9007199254740991"];
  for (const text of [
    ...kept,
    "9007199254740994",
    "0.1",
    "1.10000000000000000000",
    "0.15E4",
    "123456789.123456",
    "5e-324",
    "1.7976931348623157e308",
  ]) {
    assert.equal(parse(text), Number(text), text);
  }
});

test("names the number that cannot be kept exactly", () => {
  refused('{"a":{"b":["x",9007199254740993]}}', /cannot be kept exactly/, "a.b.1");
  refused('{"a":{"c":1},"ids":[{"n":1},{"n":123456789012345678}]}', /cannot be kept exactly/, "ids.1.n");
  // The path is cut, and so is the number that is compared.
  const long = "x".repeat(500);
  refused(`{"${long}":1e999}`, /cannot be kept exactly/, "x".repeat(200));
  refused(`{"${long}":{"a":1e999}}`, /cannot be kept exactly/, `${"x".repeat(200)}…`);
  refused(`{"n":1.${"0".repeat(448)}1}`, /cannot be kept exactly/, "n");
  for (const text of [
    "1e999",
    "1E999",
    "-1e999",
    "1e-999",
    "18446744073709551616",
    "0.10000000000000001",
    "9".repeat(500),
  ]) {
    refused(`{"n":${text}}`, /cannot be kept exactly/, "n");
  }
  assert.deepEqual(parse('{"1e999":"9007199254740993"}'), { "1e999": "9007199254740993" });
});

test("rounds such a number where exactness is not asked for", () => {
  const inIds = { ...limits, isExactAt: ([first]: readonly (string | number)[]) => first === "ids" };
  assert.deepEqual(parse('{"n":[0.10000000000000000555,1e999]}', inIds), { n: [0.1, Number.POSITIVE_INFINITY] });
  for (const name of ["ids", "\\u0069ds"]) {
    const text = `{"n":9007199254740993,"${name}":[1,9007199254740993]}`;
    assert.throws(() => parse(text, inIds), { path: "ids.1" });
  }
});

test("accepts any number and replaces invalid bytes in JSON of platforms", () => {
  const lenient = { ...limits, isExact: false };
  assert.equal(parse("9007199254740993", lenient), 9007199254740992);
  assert.equal(parse(Buffer.from([0x22, 0xff, 0x22]), lenient), "\ufffd");
});
