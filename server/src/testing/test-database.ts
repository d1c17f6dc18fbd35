import { createHash, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import pg from "pg";
import { systemClock } from "../lib/clock.ts";
import { migrate, migrationsFolder, readMigrations } from "../lib/migrations.ts";
import { type Log, openPool } from "../lib/postgres.ts";
import { makeMissingPartitions } from "../partitions.ts";
import { testServerUrl } from "./test-server.ts";

export type TestDatabase = { url: string; [Symbol.asyncDispose](): Promise<void> };

/**
 * A fresh database with the newest schema, copied from a template that the first caller makes. Close every pool on
 * it before its end: what is still connected is cut off.
 */
export async function createTestDatabase(
  options: { migrationsFolder?: string /** Another server than that of the run. */; server?: string } = {},
): Promise<TestDatabase> {
  const serverUrl = options.server ?? (await testServerUrl());
  const folder = options.migrationsFolder ?? migrationsFolder;
  const template = templateName(folder);
  const name = `c4a_test_${Math.floor(Date.now() / 1000)}_${randomBytes(6).toString("hex")}`;
  await withClient(serverUrl, async (client) => {
    await ensureTemplate(client, serverUrl, template, folder);
    await client.query(`create database ${name} template ${template} strategy wal_log`);
  });
  return {
    url: databaseUrl(serverUrl, name),
    [Symbol.asyncDispose]: () =>
      withClient(serverUrl, async (client) => {
        await client.query(`drop database if exists ${name} with (force)`);
      }),
  };
}

/** Makes the template ahead of the first test. */
export async function prepareTemplate(serverUrl: string): Promise<void> {
  await withClient(serverUrl, (client) =>
    ensureTemplate(client, serverUrl, templateName(migrationsFolder), migrationsFolder),
  );
}

/** Other migrations make another template, so one server can serve several checkouts. */
function templateName(folder: string): string {
  const checksums = readMigrations(folder).map((migration) => migration.checksum);
  return `c4a_template_${createHash("sha256").update(checksums.concat(feedGuard).join()).digest("hex").slice(0, 16)}`;
}

/** It gets its name when it is complete, so one that was interrupted is never used. */
async function ensureTemplate(client: pg.Client, serverUrl: string, template: string, folder: string): Promise<void> {
  if (await databaseExists(client, template)) return;
  await client.query("select pg_advisory_lock($1)", [templateLock]);
  if (!(await databaseExists(client, template))) {
    await dropForgotten(client);
    const unfinished = `${template}_unfinished`;
    await client.query(`drop database if exists ${unfinished} with (force)`);
    await client.query(`create database ${unfinished}`);
    await migrateTo(databaseUrl(serverUrl, unfinished), folder);
    if (folder === migrationsFolder)
      await withClient(databaseUrl(serverUrl, unfinished), (one) => one.query(feedGuard));
    await client.query(`alter database ${unfinished} rename to ${template}`);
  }
  await client.query("select pg_advisory_unlock($1)", [templateLock]);
}

/** Finds statements that change a status without publishing it. */
const feedGuard = readFileSync(new URL("./feed-guard.sql", import.meta.url), "utf8");

const templateLock = 0x74656d70;

async function databaseExists(client: pg.Client, name: string): Promise<boolean> {
  const { rowCount } = await client.query("select from pg_database where datname = $1", [name]);
  return rowCount === 1;
}

const forgottenAfterSeconds = 3600;

/** Databases of test runs that were killed; on a server that outlives them. */
async function dropForgotten(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ datname: string }>(
    "select datname from pg_database where datname ~ '^c4a_test_\\d+_' and split_part(datname, '_', 3)::bigint < $1",
    [Math.floor(Date.now() / 1000) - forgottenAfterSeconds],
  );
  for (const { datname } of rows) await client.query(`drop database if exists ${datname} with (force)`);
}

async function migrateTo(url: string, folder: string): Promise<void> {
  const pool = openPool({ url, size: 1, applicationName: "chat4all tests", log: quiet });
  try {
    await migrate(pool, { folder, log: quiet });
    if (folder === migrationsFolder) {
      await makeMissingPartitions({ db: pool, clock: systemClock, messageRetentionMs: null }, new Date());
    }
  } finally {
    await pool.end();
  }
}

const quiet: Log = { info() {}, warn() {}, error: console.error };

function databaseUrl(serverUrl: string, name: string): string {
  const url = new URL(serverUrl);
  url.pathname = `/${name}`;
  return url.href;
}

async function withClient<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url, application_name: "chat4all tests" });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}
