import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Log, Pool, PoolClient } from "./postgres.ts";
import { StartError } from "./start-error.ts";

type Migration = { version: number; name: string; sql: string; checksum: string };

export const migrationsFolder = fileURLToPath(new URL("../../migrations", import.meta.url));

/** Of several processes one works, the others wait. Throws a `StartError` for a server or files that do not fit. */
export async function migrate(pool: Pool, options: { log: Log; folder?: string }): Promise<number[]> {
  const migrations = readMigrations(options.folder ?? migrationsFolder);
  const client = await pool.connect();
  try {
    await requireServer(client);
    await client.query("set statement_timeout = 0");
    await client.query("select pg_advisory_lock($1)", [migrationLock]);
    const pending = await findPending(client, migrations);
    for (const migration of pending) {
      await apply(client, migration);
    }
    if (pending.length > 0)
      options.log.info({ version: pending.at(-1)!.version, applied: pending.length }, "schema migrated");
    return pending.map((migration) => migration.version);
  } finally {
    // Closing the connection ends the lock and the setting.
    client.release(true);
  }
}

export function readMigrations(folder: string): Migration[] {
  const files = readdirSync(folder).filter((file) => !file.startsWith("."));
  const migrations = files.map((file) => readMigration(folder, file)).sort((a, b) => a.version - b.version);
  for (const [index, { version, name }] of migrations.entries()) {
    if (version === index + 1) continue;
    const mistake = version <= index ? `uses the number ${version} again` : `leaves a gap before its number ${version}`;
    throw new StartError(`The migration ${name} ${mistake}: give it the number ${index + 1}.`);
  }
  return migrations;
}

function readMigration(folder: string, file: string): Migration {
  const [, number] = /^(\d{4})-[a-z0-9-]+\.sql$/.exec(file) ?? [];
  if (!number) throw new StartError(`${join(folder, file)} is not a migration: name it like 0001-conversations.sql.`);
  // A checkout may change the line ends.
  const sql = readFileSync(join(folder, file), "utf8").replaceAll("\r\n", "\n");
  return { version: Number(number), name: file, sql, checksum: createHash("sha256").update(sql).digest("hex") };
}

/** "chat4all" in bytes: shared by its processes, and unlikely to be used by another program. */
const migrationLock = 0x63686174;
const oldestServer = 15;

async function requireServer(client: PoolClient): Promise<void> {
  const { rows } = await client.query<{ version: string; encoding: string }>(
    "select current_setting('server_version_num') as version, current_setting('server_encoding') as encoding",
  );
  const [{ version, encoding }] = rows as [(typeof rows)[0]];
  const major = Math.floor(Number(version) / 10_000);
  if (major < oldestServer) {
    throw new StartError(`DATABASE_URL leads to PostgreSQL ${major}: use version ${oldestServer} or newer.`);
  }
  if (encoding !== "UTF8") {
    throw new StartError(`The database of DATABASE_URL is encoded in ${encoding}: create one with encoding UTF8.`);
  }
}

async function findPending(client: PoolClient, migrations: Migration[]): Promise<Migration[]> {
  await client.query(
    `create table if not exists schema_migrations (
       version int primary key, name text not null, checksum text not null, applied_at timestamptz not null default now())`,
  );
  const { rows: applied } = await client.query<{ version: number; name: string; checksum: string }>(
    "select version, name, checksum from schema_migrations order by version",
  );
  for (const { version, name, checksum } of applied) {
    const migration = migrations[version - 1];
    if (!migration) {
      throw new StartError(
        `The database is newer than this program (it has the migration ${name}): start a newer version.`,
      );
    }
    if (migration.checksum !== checksum) {
      throw new StartError(
        `The migration ${migration.name} was edited after it ran: restore it and put the change into a new one.`,
      );
    }
  }
  return migrations.slice(applied.at(-1)?.version ?? 0);
}

async function apply(client: PoolClient, { version, name, sql, checksum }: Migration): Promise<void> {
  await client.query("begin");
  try {
    await client.query(sql);
    await client.query("insert into schema_migrations (version, name, checksum) values ($1, $2, $3)", [
      version,
      name,
      checksum,
    ]);
    await client.query("commit");
  } catch (cause) {
    if ((cause as { code?: string }).code === insufficientPrivilege) {
      throw new StartError(
        `The migration ${name} may not be run by this database user (${(cause as Error).message}): ` +
          "let the user of DATABASE_URL own the database, and create roles (ALTER ROLE … CREATEROLE) or be given them.",
        { cause },
      );
    }
    // The caller closes the connection, and that rolls back.
    throw new Error(`The migration ${name} failed${lineOf(cause, sql)}: ${(cause as Error).message}`, { cause });
  }
}

const insufficientPrivilege = "42501";

/** PostgreSQL counts characters from 1. */
function lineOf(error: unknown, sql: string): string {
  const position = Number((error as { position?: string }).position ?? 0);
  return position > 0 ? ` in line ${sql.slice(0, position).split("\n").length}` : "";
}
