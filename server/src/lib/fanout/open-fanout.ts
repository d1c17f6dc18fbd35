import type { Clock } from "../clock.ts";
import type { Log } from "../postgres.ts";
import type { Fanout } from "./fanout.ts";
import { openLocalFanout } from "./local-fanout.ts";
import { openPostgresFanout } from "./postgres-fanout.ts";

export interface FanoutOptions {
  redisUrl: string | null;
  /** `null`: the database is of this process alone, so there are no others. */
  databaseUrl: string | null;
  clock: Clock;
  log: Log;
}

/** Over Redis where there is one, else over the database that the processes share. */
export async function openFanout({ redisUrl, databaseUrl, clock, log }: FanoutOptions): Promise<Fanout> {
  if (redisUrl !== null) {
    const { openRedisFanout } = await import("./redis-fanout.ts");
    return openRedisFanout({ url: redisUrl, clock, log });
  }
  if (databaseUrl !== null) return openPostgresFanout({ url: databaseUrl, clock, log });
  return openLocalFanout(log);
}
