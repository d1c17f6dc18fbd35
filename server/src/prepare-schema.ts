import { migrate } from "./lib/migrations.ts";
import { type Log, openPool } from "./lib/postgres.ts";
import { StartError } from "./lib/start-error.ts";
import type { WaitFor } from "./lib/start-progress.ts";
import { type StartRetry, unusable } from "./lib/start-retry.ts";

export interface SchemaOptions {
  isEmbedded: boolean;
  retry: StartRetry;
  log: Log;
  waitFor: WaitFor;
}

/** Brings the schema up to date, as its owner and without a role. Throws a `StartError` for an unusable database. */
export async function prepareSchema(url: string, { isEmbedded, retry, log, waitFor }: SchemaOptions): Promise<void> {
  // A migration, and waiting for that of another process, may take long.
  const owner = openPool({ url, size: 1, applicationName: "chat4all migrations", log, statementTimeoutMs: 0 });
  try {
    await retry(() => owner.query("SELECT 1")).catch((error) => {
      throw error instanceof StartError ? error : unusable(isEmbedded, error);
    });
    waitFor("the database schema to be brought up to date");
    await retry(() => migrate(owner, { log }));
  } finally {
    await owner.end();
  }
}
