import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { openStartProgress } from "./start-progress.ts";

test("prints what the start waits for after 3 s and every 5 s, without waits that have just started", () => {
  mock.timers.enable({ apis: ["setInterval"] });
  let elapsed = 0;
  const advance = (ms: number) => {
    for (const end = elapsed + ms; elapsed < end; ) {
      elapsed += 250;
      mock.timers.tick(250);
    }
  };
  const printed: string[] = [];
  const progress = openStartProgress(
    (line) => printed.push(line),
    "the program to load",
    () => elapsed,
  );
  try {
    advance(2_750);
    progress.waitFor("PostgreSQL to start");
    advance(750);
    assert.deepEqual(printed, []);
    progress.waitFor("the HTTP server to open");
    advance(6_000);
    progress.end();
    advance(10_000);
  } finally {
    mock.timers.reset();
  }
  assert.deepEqual(printed, [
    "Starting: waiting for the HTTP server to open (1 s).",
    "Starting: waiting for the HTTP server to open (6 s).",
  ]);
});
