import assert from "node:assert/strict";
import { closeSync, mkdtempSync, readFileSync, rmSync, writeSync } from "node:fs";
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
