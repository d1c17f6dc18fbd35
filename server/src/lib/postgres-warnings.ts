import { type Db, one } from "./query.ts";

export interface SettingWarning {
  setting: string;
  detail: string;
}

interface Settings {
  fsync: string;
  full_page_writes: string;
  synchronous_commit: string;
  synchronous_standby_names: string;
  autovacuum: string;
  default_transaction_isolation: string;
  idle_session_timeout: string;
  connections: number;
}

/** `needed`: connections that the process may open. */
export async function readSettingWarnings(db: Db, needed: number): Promise<SettingWarning[]> {
  const settings = await one<Settings>(
    db,
    `SELECT current_setting('fsync') AS fsync, current_setting('full_page_writes') AS full_page_writes,
       current_setting('synchronous_commit') AS synchronous_commit,
       current_setting('synchronous_standby_names') AS synchronous_standby_names,
       current_setting('autovacuum') AS autovacuum,
       current_setting('default_transaction_isolation') AS default_transaction_isolation,
       current_setting('idle_session_timeout') AS idle_session_timeout,
       current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
         - coalesce(current_setting('reserved_connections', true)::int, 0) AS connections`,
  );
  return warningsOf(settings, needed);
}

function warningsOf(settings: Settings, needed: number): SettingWarning[] {
  const found: SettingWarning[] = [];
  const warn = (setting: string, detail: string) => found.push({ setting, detail });
  if (settings.fsync === "off") {
    warn("fsync", "fsync is off: a power failure can lose accepted messages and destroy the database. Turn it on.");
  }
  if (settings.full_page_writes === "off") {
    warn("full_page_writes", "full_page_writes is off: a power failure can destroy tables. Turn it on.");
  }
  if (settings.synchronous_commit === "off") {
    warn("synchronous_commit", "synchronous_commit is off: a crash loses messages that were accepted. Set it to on.");
  }
  if (settings.synchronous_commit === "local" && settings.synchronous_standby_names !== "") {
    warn(
      "synchronous_commit",
      "synchronous_commit is local although there are synchronous standbys: a failover loses messages that were accepted. Set it to on.",
    );
  }
  if (settings.autovacuum === "off") {
    warn("autovacuum", "autovacuum is off: tables grow and become slower without end. Turn it on.");
  }
  if (settings.default_transaction_isolation !== "read committed") {
    warn(
      "default_transaction_isolation",
      `default_transaction_isolation is ${settings.default_transaction_isolation}: concurrent statements fail and are retried. Set it to read committed.`,
    );
  }
  if (settings.idle_session_timeout !== "0") {
    warn(
      "idle_session_timeout",
      "idle_session_timeout is set: the connections that listen for notifications are cut again and again. Set it to 0 for this user.",
    );
  }
  if (settings.connections < needed) {
    warn(
      "max_connections",
      `The server takes ${settings.connections} connections and this process may open ${needed}: requests fail under load. Raise max_connections, or lower DATABASE_POOL_SIZE.`,
    );
  }
  return found;
}
