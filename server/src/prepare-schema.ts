import { migrate } from "./lib/migrations.ts";
import { type Log, openPool } from "./lib/postgres.ts";
import { StartError } from "./lib/start-error.ts";
import { type Start, unlessAborted, unusable } from "./lib/start-retry.ts";

interface SchemaOptions extends Start {
  isEmbedded: boolean;
  log: Log;
}

/** Brings the schema up to date, as its owner and without a role. Throws a `StartError` for an unusable database. */
export async function prepareSchema(
  url: string,
  { isEmbedded, retry, log, waitFor, signal }: SchemaOptions,
): Promise<void> {
  // A migration, and waiting for that of another process, may take long.
  const owner = openPool({ url, size: 1, applicationName: "chat4all migrations", log, statementTimeoutMs: 0 });
  try {
    await retry(() => owner.query("SELECT 1")).catch((error) => {
      throw error instanceof StartError ? error : unusable(isEmbedded, error);
    });
    waitFor("the database schema to be brought up to date");
    await retry(() => migrate(owner, { log }));
  } finally {
    // A connection that is still being opened, or that waits for the lock of migrations, holds up no stop.
    await unlessAborted(owner.end(), signal);
  }
}
