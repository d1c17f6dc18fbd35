/**
 * Runs the tests of a message's path over the PostgreSQL of the operating system with its stock settings, which differ
 * from those of the embedded one: `jit` alone once took sixty times the CPU.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { before, describe, test } from "node:test";
import { pino } from "pino";
import { loadConfig } from "./config/config.ts";
import { startHub } from "./hub.ts";
import { createClient, openPool } from "./lib/postgres.ts";
import { closeAfterTests } from "./testing/close-after-tests.ts";
import { patient } from "./testing/patience.ts";
import { lacks } from "./testing/programs.ts";
import { type StockPostgres, startStockPostgres } from "./testing/stock-postgres.ts";
import { createTestDatabase } from "./testing/test-database.ts";

const suiteLimitMs = patient(300_000);
const suites = [
  "messages/accept.test.ts",
  "bus/postgres-bus.test.ts",
  "deliveries/route-at-once.test.ts",
  "deliveries/receipts/receipts.test.ts",
  "deliveries/sending/deliverer.test.ts",
  "dead-letters/dead-letters.test.ts",
  "inbound/receive.test.ts",
  "inbound/webhook-store.test.ts",
  "events/feed.test.ts",
  "lib/fanout/postgres-fanout.test.ts",
  "row-level-security.test.ts",
  "lib/partitions.test.ts",
  "partitions.test.ts",
];

describe("over the PostgreSQL of the operating system, with its stock settings", { skip: lacks("postgres") }, () => {
  let server: StockPostgres;
  const opened = closeAfterTests();
  before(async () => {
    server = opened.use(await startStockPostgres());
  });

  test("no connection compiles its statements, with any settings of the server and the URL", async () => {
    const url = new URL(server.url);
    url.searchParams.set("options", "-c jit=on");
    const log = { info() {}, warn() {}, error() {} };
    const pool = openPool({ url: url.href, size: 1, applicationName: "test", log });
    const client = createClient({ url: url.href, applicationName: "test" });
    try {
      await client.connect();
      for (const db of [pool, client]) {
        const { rows } = await db.query("SELECT setting, reset_val, boot_val FROM pg_settings WHERE name = 'jit'");
        assert.deepEqual(rows, [{ setting: "off", reset_val: "off", boot_val: "on" }]);
      }
    } finally {
      await Promise.all([pool.end(), client.end()]);
    }
  });

  test("a hub warns of settings that lose data, at start and in /readyz, and serves requests", async () => {
    await using database = await createTestDatabase({ server: server.url });
    const url = new URL(database.url);
    url.searchParams.set("options", "-c synchronous_commit=off -c idle_session_timeout=60000");
    const lines: string[] = [];
    const log = pino({ level: "warn" }, { write: (line: string) => void lines.push(JSON.parse(line).setting) });
    const config = loadConfig(
      {
        ...{
          PORT: "0",
          ROLES: "api",
          ADMIN_PASSWORD: "a password",
          DATABASE_URL: url.href,
          DATABASE_POOL_SIZE: "50",
        },
        ...{ JWT_SECRET: "j".repeat(32), ENCRYPTION_KEY: "ab".repeat(32) },
      },
      { envFile: null },
    );
    await using hub = await startHub({ config, log, onFailed: assert.fail });
    const expected = ["synchronous_commit", "idle_session_timeout", "max_connections"];
    assert.deepEqual(lines, expected);
    const answer = await fetch(`${hub.url}/readyz`);
    const body = (await answer.json()) as { status: string; warnings: { setting: string; detail: string }[] };
    assert.deepEqual(
      [answer.status, body.status, body.warnings.map(({ setting }) => setting)],
      [200, "ready", expected],
    );
    assert.match(body.warnings[0]!.detail, /^synchronous_commit is off: .* Set it to on\.$/);
  });

  for (const suite of suites) {
    test(`${suite} passes`, async () => {
      // With the runner's variables the file would report to this run instead of its own output.
      const { NODE_TEST_CONTEXT: _, ...env } = process.env;
      const child = spawn(process.execPath, ["--test", "--test-reporter=spec", join(import.meta.dirname, suite)], {
        env: { ...env, TEST_DATABASE_URL: server.url },
        stdio: ["ignore", "pipe", "inherit"],
        timeout: suiteLimitMs,
      });
      const exited = new Promise((resolve) => child.once("exit", resolve));
      const output = await text(child.stdout);
      assert.equal(await exited, 0, output);
    });
  }
});
