import {
  DataDirectoryInUse,
  findRunningDatabase,
  hasCluster,
  startEmbeddedPostgres,
} from "../../../embedded-postgres/src/embedded-postgres.ts";
import type { Config } from "../config/config.ts";
import { type Log, openPool, type Pool } from "../lib/postgres.ts";
import { one } from "../lib/query.ts";
import { StartError } from "../lib/start-error.ts";
import { unusable } from "../lib/start-retry.ts";

export interface CommandDatabase extends AsyncDisposable {
  url: string;
  isEmbedded: boolean;
}

/**
 * The database of a command: that of DATABASE_URL, else the embedded one, of the running hub or started
 * for the command. Throws a `StartError` if there is none, or if a hub is running and the command must
 * not run beside one.
 */
export async function openCommandDatabase(
  { database, dataDir }: Pick<Config, "database" | "dataDir">,
  { mayRunBesideHub }: { mayRunBesideHub: boolean },
): Promise<CommandDatabase> {
  if (database.url !== null) {
    if (!mayRunBesideHub) await refuseBesideHub(database.url.reveal());
    return shared(database.url.reveal(), false);
  }
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
    return { url: own.url, isEmbedded: true, [Symbol.asyncDispose]: () => own[Symbol.asyncDispose]() };
  } catch (error) {
    if (!(error instanceof DataDirectoryInUse) || !mayRunBesideHub) throw error;
    const url = findRunningDatabase(dataDir);
    if (url !== null) return shared(url, true);
    throw new StartError("The hub on this data directory is starting or stopping: try again.", { cause: error });
  }
}

/** A hub in any role has connections for the bus. */
async function refuseBesideHub(url: string): Promise<void> {
  const pool = openPool({ url, size: 1, applicationName: "chat4all command", log: quiet });
  try {
    const hubs = await one<{ count: number }>(
      pool,
      `SELECT count(*) AS count FROM pg_stat_activity
       WHERE datname = current_database() AND application_name = 'chat4all bus'`,
    );
    if (hubs.count > 0) {
      throw new StartError("A hub is using this database: stop every hub on it, then run this command again.");
    }
  } catch (error) {
    throw error instanceof StartError ? error : unusable(false, error);
  } finally {
    await pool.end();
  }
}

/** Throws a `StartError` unless the database can be used and has this table, which a hub of this version creates. */
export async function requireSchema({ isEmbedded }: CommandDatabase, pool: Pool, table: string): Promise<void> {
  try {
    const { rows } = await pool.query("SELECT to_regclass($1) IS NOT NULL AS is_there", [table]);
    if (rows[0].is_there) return;
  } catch (error) {
    if ((error as { code?: string }).code !== unknownRole) throw unusable(isEmbedded, error);
  }
  throw new StartError(`This database has no table ${table}: start this version of the hub on it once.`);
}

/** The error of PostgreSQL for a connection with a role that does not exist. */
const unknownRole = "22023";

function shared(url: string, isEmbedded: boolean): CommandDatabase {
  return { url, isEmbedded, async [Symbol.asyncDispose]() {} };
}

export const quiet: Log = { info() {}, warn() {}, error() {} };
