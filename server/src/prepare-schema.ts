import { systemClock } from "./lib/clock.ts";
import { migrate } from "./lib/migrations.ts";
import { isLockConflict } from "./lib/partitions.ts";
import { type Log, openPool, type Pool } from "./lib/postgres.ts";
import { one } from "./lib/query.ts";
import { StartError } from "./lib/start-error.ts";
import { type Start, unlessAborted, unusable } from "./lib/start-retry.ts";
import { makeMissingPartitions } from "./partitions.ts";

interface SchemaOptions extends Start {
  isEmbedded: boolean;
  messageRetentionMs: number | null;
  log: Log;
}

/** Brings the schema up to date, with the partitions of today, as its owner and without a role. Throws a `StartError` for an unusable database. */
export async function prepareSchema(
  url: string,
  { isEmbedded, messageRetentionMs, retry, log, waitFor, signal }: SchemaOptions,
): Promise<void> {
  // A migration, and waiting for that of another process, may take long.
  const owner = openPool({ url, size: 1, applicationName: "chat4all migrations", log, statementTimeoutMs: 0 });
  try {
    await retry(() => owner.query("SELECT 1")).catch((error) => {
      throw error instanceof StartError ? error : unusable(isEmbedded, error);
    });
    waitFor("the database schema to be brought up to date");
    await retry(() => migrate(owner, { log }));
    await retry(() => makePartitionsOfToday(owner, { log, messageRetentionMs }));
  } finally {
    // A connection that is still being opened, or that waits for the lock of migrations, holds up no stop.
    await unlessAborted(owner.end(), signal);
  }
}

/**
 * After months in which no hub ran, there are none. While others keep the tables locked, ids without a partition are stored
 * in `<table>_others`, and the maintenance job makes it later. By the database's time: the clock of this machine may be wrong.
 */
async function makePartitionsOfToday(
  db: Pool,
  { log, messageRetentionMs }: Pick<SchemaOptions, "log" | "messageRetentionMs">,
): Promise<void> {
  const { now } = await one<{ now: Date }>(db, "SELECT now()");
  await makeMissingPartitions({ db, clock: systemClock, messageRetentionMs }, now).catch((error) => {
    if (!isLockConflict(error)) throw error;
    log.warn({ reason: error.message }, "the partitions of today are not made yet: the tables are locked");
  });
}
