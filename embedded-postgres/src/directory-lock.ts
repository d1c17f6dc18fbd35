import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import { DataDirError, writeFileDurably } from "./data-dir.ts";

export type DirectoryLock = {
  lost: Promise<void>;
  release(): Promise<void>;
};

export class DataDirectoryInUse extends DataDirError {
  override name = "DataDirectoryInUse";
}

/** `url`: of the database to create on the first call; the lock is in `postgres`, which always exists. */
export async function takeDirectoryLock(url: string, dataDir: string, signal?: AbortSignal): Promise<DirectoryLock> {
  const client = await open(url.replace(/\/[^/]*$/, "/postgres"), signal);
  const lost = new Promise<void>((resolve) => client.once("end", resolve));
  try {
    if (!(await tryLock(client))) throw inUse(dataDir);
    await ensureDatabase(client, new URL(url).pathname.slice(1));
    writeHolder(dataDir);
  } catch (error) {
    await client.end().catch(() => {});
    throw error;
  }
  // The lock alone must not keep the process alive. Missing in the types of pg.
  (client as pg.Client & { unref(): void }).unref();
  return {
    lost,
    async release() {
      rmSync(holderFile(dataDir), { force: true });
      await client.end().catch(() => {});
    },
  };
}

const lockNumber = 0x68756221;
const connectLimitMs = 3_000;
const recoveryLimitMs = 10 * 60_000;
const lockLimitMs = 1000;
const pollMs = 50;

/** A server recovers after the loss of a process before it accepts connections. */
async function open(url: string, signal?: AbortSignal): Promise<pg.Client> {
  const deadline = performance.now() + recoveryLimitMs;
  for (;;) {
    const client = new pg.Client({
      connectionString: url,
      application_name: "chat4all lock",
      connectionTimeoutMillis: connectLimitMs,
    });
    client.on("error", () => {});
    try {
      await client.connect();
      return client;
    } catch (error) {
      const isRecovering = (error as { code?: string }).code === cannotConnectNow;
      if (!isRecovering || signal?.aborted || performance.now() > deadline) throw error;
      await delay(pollMs);
    }
  }
}

const cannotConnectNow = "57P03";

/** PostgreSQL refuses for good, for example for a wrong password, unless it starts, stops or has no free connection. */
export function mayConnectLater(error: unknown): boolean {
  // Source: PostgreSQL 18, appendix A.
  return !(error instanceof pg.DatabaseError) || /^(08|57P|53300)/.test(error.code ?? "");
}

async function tryLock(client: pg.Client): Promise<boolean> {
  const deadline = performance.now() + lockLimitMs;
  for (;;) {
    const { rows } = await client.query<{ taken: boolean }>("select pg_try_advisory_lock($1) as taken", [lockNumber]);
    if (rows[0]?.taken || performance.now() > deadline) return rows[0]?.taken ?? false;
    await delay(pollMs);
  }
}

async function ensureDatabase(client: pg.Client, name: string): Promise<void> {
  const { rowCount } = await client.query("select from pg_database where datname = $1", [name]);
  if (rowCount === 0) await client.query(`create database ${client.escapeIdentifier(name)}`);
}

function inUse(dataDir: string): DataDirectoryInUse {
  const holder = readHolder(dataDir);
  return new DataDirectoryInUse(
    `The data directory ${dataDir} is in use by another Chat4All${holder ? ` (process ${holder})` : ""}: stop it first, or set another DATA_DIR.`,
  );
}

function holderFile(dataDir: string): string {
  return join(dataDir, "hub.json");
}

/** Only for the message above, so a full disk does not stop the start. */
function writeHolder(dataDir: string): void {
  const holder = { pid: process.pid, started_at: new Date().toISOString() };
  try {
    writeFileDurably(holderFile(dataDir), `${JSON.stringify(holder)}\n`, 0o600);
  } catch {}
}

function readHolder(dataDir: string): number | undefined {
  try {
    return JSON.parse(readFileSync(holderFile(dataDir), "utf8")).pid;
  } catch {
    return undefined;
  }
}
