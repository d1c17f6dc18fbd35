import type { Config } from "./config.ts";
import { startEmbeddedPostgres } from "./lib/embedded-postgres/embedded-postgres.ts";
import { DataDirectoryInUse } from "./lib/embedded-postgres/hub-lock.ts";
import { findRunningDatabase, hasCluster } from "./lib/embedded-postgres/running.ts";
import type { Log } from "./lib/postgres.ts";
import { StartError } from "./lib/start-error.ts";

export interface CommandDatabase extends AsyncDisposable {
  url: string;
  /** Whether a hub may be at work on it meanwhile. */
  isShared: boolean;
}

/**
 * For a command beside the hub: the database of DATABASE_URL, else the embedded one, of the hub that runs or started for
 * as long as this lasts. Throws a `StartError` where there is none.
 */
export async function openCommandDatabase({
  database,
  dataDir,
}: Pick<Config, "database" | "dataDir">): Promise<CommandDatabase> {
  if (database.url !== null) return shared(database.url.reveal());
  if (!hasCluster(dataDir)) {
    throw new StartError(`There is no database in ${dataDir}: set DATA_DIR or DATABASE_URL as for the hub.`);
  }
  try {
    const own = await startEmbeddedPostgres({
      dataDir,
      log: quiet,
      onFailed(error) {
        throw error;
      },
    });
    return { url: own.url, isShared: false, [Symbol.asyncDispose]: () => own[Symbol.asyncDispose]() };
  } catch (error) {
    if (!(error instanceof DataDirectoryInUse)) throw error;
    const url = findRunningDatabase(dataDir);
    if (url !== null) return shared(url);
    throw new StartError("The hub on this data directory is just starting or stopping: try again.", { cause: error });
  }
}

function shared(url: string): CommandDatabase {
  return { url, isShared: true, async [Symbol.asyncDispose]() {} };
}

const quiet: Log = { info() {}, warn() {}, error() {} };
