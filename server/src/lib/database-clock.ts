import type { Clock } from "./clock.ts";
import type { Log } from "./postgres.ts";
import { type Db, one } from "./query.ts";
import { repeat } from "./repeat.ts";

export interface DatabaseClockOptions {
  db: Db;
  /** Of this machine: how much time passes is taken from it, what time it is only when the database cannot say. */
  clock: Clock;
  log: Log;
}

/** How often the database is asked for the time, in milliseconds. */
const askEveryMs = 10_000;
/** An answer that took longer says too little about when it was given. */
const slowMs = 1_000;
/** A difference that an operator should know of, in milliseconds. */
const noticedMs = 5_000;
/** When the machine's clock moves by so much against the time that has passed, it was set, or the machine has slept. */
const jumpMs = 1_000;

/**
 * The database's time, kept between two questions by the time that passes: so all processes agree on what time it is, a
 * machine whose clock is wrong or is set stamps and expires nothing wrongly, and what it wrote delays no one.
 */
export async function openDatabaseClock({ db, clock, log }: DatabaseClockOptions): Promise<Clock & AsyncDisposable> {
  /** What the time was when `elapsed` was 0. */
  let origin = Number.NaN;
  let machineOrigin = 0;
  let asking: Promise<void> | null = null;

  async function ask(): Promise<void> {
    const before = clock.elapsed();
    const { at } = await one<{ at: number }>(db, "SELECT extract(epoch FROM clock_timestamp())::float8 * 1000 AS at");
    const after = clock.elapsed();
    machineOrigin = clock.now() - after;
    if (after - before <= slowMs || Number.isNaN(origin)) origin = at - (before + after) / 2;
  }

  function askOnce(): Promise<void> {
    asking ??= ask().finally(() => {
      asking = null;
    });
    return asking;
  }

  const complain = (error: unknown) => log.warn({ err: error }, "the database could not be asked for the time");
  await askOnce();
  const aheadMs = Math.round(machineOrigin - origin);
  if (Math.abs(aheadMs) > noticedMs) {
    log.warn({ ahead_ms: aheadMs }, "This machine's clock differs from the database's, which counts: set it by NTP.");
  }
  const asked = repeat(clock, askEveryMs, askOnce, complain);
  return {
    now() {
      const elapsed = clock.elapsed();
      if (Math.abs(clock.now() - elapsed - machineOrigin) > jumpMs) {
        machineOrigin = clock.now() - elapsed;
        askOnce().catch(complain);
      }
      return Math.round(origin + elapsed);
    },
    elapsed: () => clock.elapsed(),
    after: (delayMs, callback) => clock.after(delayMs, callback),
    [Symbol.asyncDispose]: () => asked.close(),
  };
}
