import { all, type Db } from "./query.ts";

export interface SettingWarning {
  setting: string;
  detail: string;
}

const names = [
  "fsync",
  "full_page_writes",
  "synchronous_commit",
  "synchronous_standby_names",
  "autovacuum",
  "default_transaction_isolation",
  "idle_session_timeout",
  "max_connections",
  "superuser_reserved_connections",
  "reserved_connections",
] as const;

/** `needed`: connections that the process may open. */
export async function readSettingWarnings(db: Db, needed: number): Promise<SettingWarning[]> {
  const rows = await all<{ name: string; setting: string | null }>(
    db,
    "SELECT name, current_setting(name, true) AS setting FROM unnest($1::text[]) AS name",
    [names],
  );
  const settings = new Map(rows.map(({ name, setting }) => [name, setting]));
  const count = (name: (typeof names)[number]) => Number(settings.get(name) ?? 0);
  const connections =
    count("max_connections") - count("superuser_reserved_connections") - count("reserved_connections");
  const found: SettingWarning[] = [];
  const warn = (setting: string, detail: string) => found.push({ setting, detail });
  if (settings.get("fsync") === "off") {
    warn("fsync", "fsync is off: a power failure can lose accepted messages and destroy the database. Turn it on.");
  }
  if (settings.get("full_page_writes") === "off") {
    warn("full_page_writes", "full_page_writes is off: a power failure can destroy tables. Turn it on.");
  }
  if (settings.get("synchronous_commit") === "off") {
    warn("synchronous_commit", "synchronous_commit is off: a crash loses messages that were accepted. Set it to on.");
  }
  if (settings.get("synchronous_commit") === "local" && settings.get("synchronous_standby_names") !== "") {
    warn(
      "synchronous_commit",
      "synchronous_commit is local although there are synchronous standbys: a failover loses messages that were accepted. Set it to on.",
    );
  }
  if (settings.get("autovacuum") === "off") {
    warn("autovacuum", "autovacuum is off: tables grow and become slower without end. Turn it on.");
  }
  if (settings.get("default_transaction_isolation") !== "read committed") {
    warn(
      "default_transaction_isolation",
      `default_transaction_isolation is ${settings.get("default_transaction_isolation")}: concurrent statements fail and are retried. Set it to read committed.`,
    );
  }
  if (settings.get("idle_session_timeout") !== "0") {
    warn(
      "idle_session_timeout",
      "idle_session_timeout is set: the connections that listen for notifications are cut again and again. Set it to 0 for this user.",
    );
  }
  if (connections < needed) {
    warn(
      "max_connections",
      `The server takes ${connections} connections and this process may open ${needed}: requests fail under load. Raise max_connections, or lower DATABASE_POOL_SIZE.`,
    );
  }
  return found;
}
