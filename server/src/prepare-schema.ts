import { setTimeout as delay } from "node:timers/promises";
import type { Clock } from "./lib/clock.ts";
import { migrate } from "./lib/migrations.ts";
import { isRetryableDbError, type Log, openPool, type Pool } from "./lib/postgres.ts";
import { StartError } from "./lib/start-error.ts";
import { startTimeoutMs, type WaitFor } from "./lib/start-progress.ts";

/** Brings the schema up to date, as the user who owns it and takes no role. */
export async function prepareSchema(
  url: string,
  mayBeStarting: boolean,
  { clock, log, waitFor }: { clock: Clock; log: Log; waitFor: WaitFor },
): Promise<void> {
  const owner = openPool({ url, size: 1, applicationName: "chat4all migrations", log });
  try {
    if (mayBeStarting) await untilReachable(owner, clock, log);
    waitFor("the database schema to be brought up to date");
    await migrate(owner, { log });
  } finally {
    await owner.end();
  }
}

/** Retries a database that does not answer yet: it may be starting beside the hub. */
async function untilReachable(db: Pool, clock: Clock, log: Log): Promise<void> {
  for (const giveUpAt = clock.elapsed() + startTimeoutMs; ; ) {
    try {
      await db.query("SELECT 1");
      return;
    } catch (error) {
      const reason = (error as Error).message || (error as { code?: string }).code;
      if (!isRetryableDbError(error) || clock.elapsed() >= giveUpAt) {
        throw new StartError(`The database of DATABASE_URL cannot be used (${reason}): start it, or correct the URL.`, {
          cause: error,
        });
      }
      log.warn({ reason }, "the database does not answer yet and is asked again");
      // Nothing else keeps the process alive yet, and the clock's own timers do not.
      await delay(1_000);
    }
  }
}
