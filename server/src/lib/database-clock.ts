import type { Clock } from "./clock.ts";
import type { Log } from "./postgres.ts";
import { type Db, one } from "./query.ts";
import { repeat } from "./repeat.ts";

interface DatabaseClockOptions {
  db: Db;
  clock: Clock;
  log: Log;
}

const askEveryMs = 10_000;
/** A response that took longer is too inexact. */
const slowMs = 1_000;
const noticedMs = 5_000;
/** A machine's clock that differs by so much from the time that has passed was set, or the machine has slept. */
const jumpMs = 1_000;

/** The database's time, measured monotonically between two questions, so that all processes agree on it. */
export async function openDatabaseClock({ db, clock, log }: DatabaseClockOptions): Promise<Clock & AsyncDisposable> {
  let origin = Number.NaN;
  let machineOrigin = 0;

  async function ask(): Promise<void> {
    const before = clock.elapsed();
    const { at } = await one<{ at: number }>(db, "SELECT extract(epoch FROM clock_timestamp())::float8 * 1000 AS at");
    const after = clock.elapsed();
    machineOrigin = clock.now() - after;
    if (after - before <= slowMs || Number.isNaN(origin)) origin = at - (before + after) / 2;
  }

  const complain = (error: unknown) => log.warn({ err: error }, "the database could not be asked for the time");
  await ask();
  const aheadMs = Math.round(machineOrigin - origin);
  if (Math.abs(aheadMs) > noticedMs) {
    log.warn(
      { ahead_ms: aheadMs },
      "This machine's clock differs from the database's, which the hub uses. Synchronize both with NTP.",
    );
  }
  const asked = repeat(clock, askEveryMs, ask, complain);
  return {
    now() {
      const elapsed = clock.elapsed();
      if (Math.abs(clock.now() - elapsed - machineOrigin) > jumpMs) {
        machineOrigin = clock.now() - elapsed;
        asked.wake();
      }
      return Math.round(origin + elapsed);
    },
    elapsed: () => clock.elapsed(),
    after: (delayMs, callback) => clock.after(delayMs, callback),
    [Symbol.asyncDispose]: () => asked.close(),
  };
}
