import type { Clock } from "../clock.ts";
import type { Log } from "../postgres.ts";
import type { Start } from "../start-retry.ts";
import type { Fanout } from "./fanout.ts";
import { openLocalFanout } from "./local-fanout.ts";
import { openPostgresFanout } from "./postgres-fanout.ts";

interface FanoutOptions {
  redisUrl: string | null;
  /** `null`: the database is of this process alone, so there are no others. */
  databaseUrl: string | null;
  clock: Clock;
  log: Log;
  /** Retries while the database does not respond yet; Redis has retries of its own. */
  start: Pick<Start, "retry" | "signal">;
}

/** Over Redis where there is one, else over the database that the processes share. */
export async function openFanout({ redisUrl, databaseUrl, clock, log, start }: FanoutOptions): Promise<Fanout> {
  if (redisUrl !== null) {
    const { openRedisFanout } = await import("./redis-fanout.ts");
    return openRedisFanout({ url: redisUrl, clock, log, signal: start.signal });
  }
  if (databaseUrl !== null) return start.retry(() => openPostgresFanout({ url: databaseUrl, clock, log }));
  return openLocalFanout(log);
}
