import { join } from "node:path";
import type { Log } from "../postgres.ts";
import { findBinaries } from "./binaries.ts";
import { databaseRole, openDataDir, prepareCluster } from "./data-directory.ts";
import { connectionUrl } from "./endpoint.ts";
import { DataDirectoryInUse, takeHubLock } from "./hub-lock.ts";
import { adoptOrStart, type ServerPlace } from "./postmaster.ts";
import { serverLog } from "./server-log.ts";
import { chooseServerUser } from "./server-user.ts";
import { stopPostmaster } from "./stop-postmaster.ts";
import { supervise } from "./supervisor.ts";

export type EmbeddedPostgresOptions = {
  /** The cluster is in its folder `postgres`, the server's log in `postgres.log`. Made when missing. */
  dataDir: string;
  log: Log;
  /** The server could not be kept running, or another hub took the data directory: this process should end. */
  onFailed(error: Error): void;
};

export type EmbeddedPostgres = {
  /** Leads to the database `chat4all`; any process on this machine that may read the data directory can use it. */
  url: string;
  /** A server that a killed hub left running was taken over, rather than a new one started. */
  adopted: boolean;
  /** Ends every connection and the server, within 10 s. May be called again. */
  stop(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
};

/**
 * Runs a PostgreSQL of our own in a data directory, and holds that directory: a second hub on it is refused.
 * The protocol, each step of which survives being killed anywhere:
 *
 * 1. The cluster is made aside and renamed into place.
 * 2. A server that still runs in it is taken over, else one is started. It belongs to nobody's terminal or life.
 * 3. A session lock in the database `chat4all` makes one hub its holder.
 * 4. When the server or the lock's connection dies, both are brought back at the same address, so that pools
 *    reconnect by themselves.
 *
 * Throws a `StartError` for what the operator can mend.
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const dataDir = openDataDir(options.dataDir);
  const binaries = await findBinaries();
  const user = await chooseServerUser(join(dataDir, "postgres"), { program: binaries.postgres, folder: dataDir });
  const { directory, password } = await prepareCluster(dataDir, binaries.initdb, user);
  const place: ServerPlace = { directory, binaries, user, serverLog: serverLog(join(dataDir, "postgres.log")) };
  const { postmaster, adopted } = await adoptOrStart(place);
  const url = connectionUrl(postmaster.endpoint, { user: databaseRole, password }, "chat4all");
  const takeLock = (signal?: AbortSignal) => takeHubLock(url, dataDir, signal);
  try {
    const lock = await takeLock();
    const supervisor = supervise({ ...options, place, postmaster, lock, takeLock });
    return { url, adopted, stop: supervisor.stop, [Symbol.asyncDispose]: supervisor.stop };
  } catch (error) {
    // The server of another hub is left to it, also when we were the one who started it a moment ago.
    if (!adopted && !(error instanceof DataDirectoryInUse)) await stopPostmaster(postmaster, place);
    throw error;
  }
}
