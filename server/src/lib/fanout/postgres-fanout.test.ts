import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import pg from "pg";
import { type FanoutHarness, ownMessagesSuite, sharedFanoutSuite } from "../../testing/suites/fanout-suite.ts";
import { createTestDatabase } from "../../testing/test-database.ts";
import { startTestServer } from "../../testing/test-server.ts";
import { systemClock } from "../clock.ts";
import type { Log } from "../postgres.ts";
import { readPayload, writePayload } from "./payload.ts";
import { notifyChannel, openPostgresFanout } from "./postgres-fanout.ts";

async function openHarness({ killsServer = false } = {}): Promise<FanoutHarness> {
  await using stack = new AsyncDisposableStack();
  const warnings: string[] = [];
  const log: Log = { info() {}, warn: (_fields, message) => void warnings.push(message), error() {} };
  const { url } = killsServer
    ? stack.adopt(await startTestServer(), (server) => server.stop())
    : stack.use(await createTestDatabase());
  const opened = stack.move();
  return {
    warnings,
    open: () => openPostgresFanout({ url, clock: systemClock, log }),
    async killServer() {
      const directory = decodeURIComponent(new URL(url).hostname);
      process.kill(Number.parseInt(readFileSync(join(directory, "postmaster.pid"), "utf8"), 10), "SIGKILL");
    },
    // Its supervisor does it.
    async startServer() {},
    async countPayloads() {
      const client = new pg.Client({ connectionString: url });
      await client.connect();
      let count = 0;
      client.on("notification", () => {
        count += 1;
      });
      await client.query(`LISTEN ${notifyChannel}`);
      return { count: () => count, [Symbol.asyncDispose]: () => client.end() };
    },
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

ownMessagesSuite(openHarness);
sharedFanoutSuite(openHarness);

test("a notification of another program is no message", () => {
  const payload = { sender: "a-1", isAfterLoss: true, messages: [{ channel: "é", message: "1 2 é" }] };
  assert.deepEqual(readPayload(writePayload(payload, 7)), payload);
  for (const text of ["", "events", "a 1 -", "a 1 -\nx", "a 1 -\n1 9 cshort", "a 1 -\n1 1 cm1", "a x -\n1 1 cm"]) {
    assert.equal(readPayload(text), null, text);
  }
});
