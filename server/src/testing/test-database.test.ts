import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import pg from "pg";
import { createTestDatabase } from "./test-database.ts";
import { sharedServerVariable } from "./test-server.ts";
import { until } from "./until.ts";

test("every test has its own database with the newest schema", async () => {
  await using first = await createTestDatabase();
  await using second = await createTestDatabase();
  await query(first.url, "create table mine (id int)");
  await assert.rejects(query(second.url, "select from mine"), { code: "42P01" });
  assert.ok((await query(second.url, "select from schema_migrations")).rowCount! > 0);
});

test("many at once share one template", async () => {
  const databases = await Promise.all(Array.from({ length: 8 }, () => createTestDatabase()));
  assert.equal(new Set(databases.map((database) => database.url)).size, 8);
  await Promise.all(databases.map((database) => database[Symbol.asyncDispose]()));
  await assert.rejects(query(databases[0]!.url, "select 1"), { code: "3D000" });
});

// A test run that is interrupted must not fill the machine with servers.
test("a process that is killed leaves neither a server nor a folder", async () => {
  const script = `
    const { createTestDatabase } = await import(${JSON.stringify(join(import.meta.dirname, "test-database.ts"))});
    console.log((await createTestDatabase()).url);
    setInterval(() => {}, 1000);`;
  const env = { ...process.env, [sharedServerVariable]: "", TEST_DATABASE_URL: "" };
  const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
    env,
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [line] = await once(child.stdout, "data");
  const directory = decodeURIComponent(new URL(String(line)).hostname);
  assert.equal(existsSync(join(directory, "postmaster.pid")), true);
  child.kill("SIGKILL");
  await until("the folder is gone", () => !existsSync(dirname(directory)));
});

async function query(url: string, sql: string): Promise<pg.QueryResult> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return await client.query(sql);
  } finally {
    await client.end();
  }
}
