import assert from "node:assert/strict";
import { test } from "node:test";
import { retryAfterMs } from "./retry-after.ts";

test("retry-after is read as seconds or as a date, and nothing else", () => {
  const now = Date.UTC(2026, 10, 20, 12);
  const cases: [string | undefined, number | null][] = [
    ["0", 0],
    ["120", 120_000],
    [" 7 ", 7_000],
    ["Fri, 20 Nov 2026 12:00:30 GMT", 30_000],
    ["Fri, 20 Nov 2026 11:00:00 GMT", 0],
    [undefined, null],
    ["", null],
    ["-5", null],
    ["1.5", null],
    ["1e3", null],
    ["2026-11-20T12:00:30Z", null],
    ["Fri, 99 Nov 2026 12:00:30 GMT", null],
    ["99999999999999999999", null],
    ["soon", null],
  ];
  for (const [value, expected] of cases) assert.equal(retryAfterMs(value, now), expected, String(value));
});
