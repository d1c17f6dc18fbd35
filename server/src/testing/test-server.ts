import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startEmbeddedPostgres } from "../../../embedded-postgres/src/embedded-postgres.ts";
import type { Log } from "../lib/postgres.ts";
import { startWatchdog } from "./watchdog.ts";

/** The variable by which `global-setup.ts` gives the test files of the run their server. */
export const sharedServerVariable = "C4A_TEST_POSTGRES_URL";

/**
 * A PostgreSQL to make test databases on: the one of `TEST_DATABASE_URL` (it must let us create databases), else the
 * one of this run, else, for a file that runs alone, a server that ends with the process.
 */
export function testServerUrl(): Promise<string> {
  const shared = process.env.TEST_DATABASE_URL || process.env[sharedServerVariable];
  if (shared) return Promise.resolve(shared);
  own ??= startTestServer();
  return own.then((server) => server.url);
}

let own: Promise<TestServer> | undefined;

export type TestServer = { url: string; stop(): Promise<void> };

/** A server as in production, in a temporary folder. It does not outlive this process, however that ends. */
export async function startTestServer(): Promise<TestServer> {
  removeLeftovers();
  const folder = mkdtempSync(join(tmpdir(), `${folderPrefix}${process.pid}-`));
  const watchdog = startWatchdog(folder, watchdogScript);
  const server = await startEmbeddedPostgres({
    dataDir: folder,
    log: quiet,
    onFailed(error) {
      throw error;
    },
  });
  return {
    url: server.url,
    async stop() {
      await server.stop();
      rmSync(folder, { recursive: true, force: true });
      watchdog.end();
    },
  };
}

const folderPrefix = "chat4all-test-";
const quiet: Log = { info() {}, warn() {}, error: console.error };

/** Folders of runs that ended together with their watchdog. A server left in one stops when it misses its files. */
function removeLeftovers(): void {
  for (const name of readdirSync(tmpdir())) {
    const pid = name.startsWith(folderPrefix) ? Number(name.slice(folderPrefix.length).split("-")[0]) : 0;
    if (pid > 0 && !exists(pid)) rmSync(join(tmpdir(), name), { recursive: true, force: true });
  }
}

function exists(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

const watchdogScript = `
  cat
  pid=$(head -n 1 "$1/postgres/postmaster.pid")
  tries=0
  while [ -n "$pid" ] && kill -QUIT "$pid" && [ $tries -lt 100 ]; do sleep 0.1; tries=$((tries + 1)); done
  rm -rf "$1"
`;
