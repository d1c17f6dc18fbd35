import assert from "node:assert/strict";
import { appendFileSync, closeSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { serverLog } from "./server-log.ts";

test("moves a long log aside while the server writes", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "chat4all-log-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const log = serverLog(join(folder, "postgres.log"));
  const server = log.open();
  writeSync(server, "old\n");
  log.rotate();
  assert.equal(log.sizeBytes(), 4);

  writeSync(server, "x".repeat(8 * 1024 * 1024));
  log.rotate();
  writeSync(server, "new\n");
  closeSync(server);
  assert.equal(readFileSync(log.path, "utf8"), "new\n");
  assert.equal(readFileSync(`${log.path}.1`, "utf8").slice(0, 5), "old\nx");
  assert.equal(log.since(1), "ew\n");
});

// `rotate` runs once in a while: a server that repeats an error fills the log much faster.
test("reads the end of a log that is too long for memory", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "chat4all-log-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const log = serverLog(join(folder, "postgres.log"));
  assert.equal(log.since(0), "", "of a log that was not written yet");
  closeSync(log.open());
  // A file with a hole, which takes no space on the disk.
  truncateSync(log.path, 5 * 1024 ** 3);
  appendFileSync(log.path, "FATAL:  no space\n");
  assert.equal(log.since(0).length, 16 * 1024);
  assert.ok(log.since(0).endsWith("\0FATAL:  no space\n"));
  assert.equal(log.since(5 * 1024 ** 3), "FATAL:  no space\n");
  assert.equal(log.since(6 * 1024 ** 3), "", "after the log was moved aside");
});
