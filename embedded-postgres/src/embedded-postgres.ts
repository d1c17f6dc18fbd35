import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { findBinaries } from "./binaries.ts";
import { prepareCluster, readPassword } from "./cluster.ts";
import { DataDirError, openDataDir } from "./data-dir.ts";
import { DataDirectoryInUse, type DirectoryLock, mayConnectLater, takeDirectoryLock } from "./directory-lock.ts";
import { connectionUrl, type Endpoint } from "./endpoint.ts";
import { adoptOrStart, type Postmaster, type ServerPlace, stopPostmaster } from "./postmaster.ts";
import { isServerOf, readPidFile, signalAtExit } from "./processes.ts";
import { serverLog } from "./server-log.ts";
import { chooseServerUser } from "./server-user.ts";
import { type Log, supervise } from "./supervisor.ts";

export { DataDirectoryInUse } from "./directory-lock.ts";

type EmbeddedPostgresOptions = {
  dataDir: string;
  log: Log;
  /** Another process has taken the data directory: this one should end. */
  onFailed(error: Error): void;
  /** PostgreSQL went away and could not be started: called after every try, until one succeeds. */
  onRestartFailed?(error: unknown): void;
  onRestarted?(): void;
  /** Called with what the start waits for from now on, such as "PostgreSQL to start". */
  waitFor?(what: string): void;
  signal?: AbortSignal;
};

type EmbeddedPostgres = {
  url: string;
  adopted: boolean;
  /** Ends every connection and the server, within 10 s. Safe to call twice. */
  stop(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
};

/**
 * Each step survives a kill at any moment: the cluster is created aside and renamed into place; a server that still
 * runs in it is taken over, else one is started, independent of the terminal and this process; a session lock on it
 * refuses a second process; when the server or the lock's connection dies, both are restored at the same address, so
 * that pools reconnect. Throws a `DataDirError`.
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const { waitFor = () => {}, signal } = options;
  const dataDir = openDataDir(options.dataDir);
  const binaries = await findBinaries();
  const user = await chooseServerUser(join(dataDir, "postgres"), { program: binaries.postgres, folder: dataDir });
  waitFor("PostgreSQL to create its files");
  const { directory, password } = await prepareCluster({ dataDir, initdb: binaries.initdb, user, signal });
  const place: ServerPlace = { directory, binaries, user, serverLog: serverLog(join(dataDir, "postgres.log")) };
  const urlOf = (endpoint: Endpoint) => connectionUrl(endpoint, password);

  waitFor("PostgreSQL to start");
  const { postmaster, adopted, lock } = await holdServer(
    place,
    (endpoint) => takeDirectoryLock(urlOf(endpoint), dataDir, signal),
    signal,
  );
  const url = urlOf(postmaster.endpoint);
  const takeLock = (signal: AbortSignal) => takeDirectoryLock(url, dataDir, signal);
  const { log, onFailed, onRestartFailed = () => {}, onRestarted = () => {} } = options;
  const stop = supervise({ place, postmaster, lock, takeLock, log, onFailed, onRestartFailed, onRestarted });
  return { url, adopted, stop, [Symbol.asyncDispose]: stop };
}

export function hasCluster(dataDir: string): boolean {
  return existsSync(join(dataDir, "postgres", "PG_VERSION"));
}

/** The URL of the database; null if no process runs one. It may end at any moment. */
export function findRunningDatabase(dataDir: string): string | null {
  const directory = join(resolve(dataDir), "postgres");
  const file = readPidFile(directory);
  if (file === null || file.status !== "ready" || !isServerOf(file.pid, directory)) return null;
  return connectionUrl(file.endpoint, readPassword(directory));
}

/** A server that was found running may be ending: then the next one is ours. */
async function holdServer(
  place: ServerPlace,
  takeLock: (endpoint: Endpoint) => Promise<DirectoryLock>,
  signal?: AbortSignal,
) {
  let isOurs = false;
  for (let tries = 1; ; tries++) {
    const { postmaster, adopted } = await adoptOrStart(place, { signal });
    isOurs ||= !adopted;
    const forgetExit = isOurs ? signalAtExit(() => postmaster.pid, "SIGQUIT") : () => {};
    try {
      return { postmaster, adopted: !isOurs, lock: await takeLock(postmaster.endpoint) };
    } catch (error) {
      // The server of another process keeps running, also when we have just started it.
      if (error instanceof DataDirectoryInUse) throw error;
      if (tries < mostTries && !signal?.aborted && mayConnectLater(error)) await delay(pauseMs);
      else {
        if (isOurs) await stopPostmaster(postmaster, place);
        throw unreachable(postmaster, place, error);
      }
    } finally {
      forgetExit();
    }
  }
}

/** Each connection attempt has 3 s: about a minute. */
const mostTries = 20;
const pauseMs = 200;

function unreachable({ pid }: Postmaster, { directory, serverLog }: ServerPlace, cause: unknown): DataDirError {
  const sentence = `PostgreSQL (process ${pid}) runs in ${directory} but refuses us (${(cause as Error).message}): stop it and start again; more in ${serverLog.path}.`;
  return new DataDirError(sentence, { cause });
}
