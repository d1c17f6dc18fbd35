import type { Context } from "./context.ts";
import { connectionsOf } from "./databases.ts";
import { readSettingWarnings, type SettingWarning } from "./lib/postgres-warnings.ts";
import type { Dependency } from "./rest/operations.ts";

export type Phase = "starting" | "ready" | "draining";

export function dependenciesOf(context: Context): Dependency[] {
  const { redis, files, clamd } = context;
  const check = async () => [...(await readDatabaseWarnings(context)), ...(await warnOfAccounts(context))];
  const database = { name: "database", check };
  const store = { name: "files", isOptional: true, check: () => files.store.check().then(() => []) };
  const dependencies: Dependency[] = [database, store];
  if (redis !== null) {
    dependencies.push({ name: "redis", isOptional: true, check: () => redis.client.ping().then(() => []) });
  }
  // Files wait until it is back.
  if (clamd !== null) {
    const check = () => clamd.check(AbortSignal.timeout(clamdCheckMs)).then(() => []);
    dependencies.push({ name: "clamav", isOptional: true, check });
  }
  return dependencies;
}

const clamdCheckMs = 2_000;

/** Settings of the database that make it slow or lose data. */
export function readDatabaseWarnings({ config, identityDb }: Context): Promise<SettingWarning[]> {
  return readSettingWarnings(identityDb, connectionsOf({ size: config.database.poolSize }));
}

/** A channel account that its platform refuses is a warning for operators: the process stays ready. */
async function warnOfAccounts({ accounts }: Context): Promise<SettingWarning[]> {
  const count = await accounts.countNeedingAttention();
  if (count === 0) return [];
  const detail = `${count} need attention: the platforms refuse them, and messages to be sent over them wait.`;
  return [{ setting: "channel_accounts", detail }];
}
