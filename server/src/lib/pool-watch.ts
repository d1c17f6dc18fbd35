import type pg from "pg";
import { systemClock } from "./clock.ts";
import { repeatWhenWoken } from "./repeat.ts";

const lookEveryMs = 500;
/** A connection that has been in use for longer is asked about, repeatedly. */
const overdueMs = 2_000;

/**
 * A frozen or cut-off server neither responds nor resets its connections. So when a response is overdue, a new connection
 * asks whether the server still works on the statement. If not, that connection and all idle ones are cut: their
 * statements fail as with any lost connection and are retried. A long statement that the server works on is left alone.
 * On the client that `createClient` makes, `connect` and a statement fail within a bounded time.
 */
export function watchPool(pool: pg.Pool, createClient: () => pg.Client, onCut: (count: number) => void): void {
  const all = new Set<pg.PoolClient>();
  /** Since when each is in use, or was last found at work, by `performance.now`. */
  const inUse = new Map<pg.PoolClient, number>();
  const checks = repeatWhenWoken(systemClock, lookEveryMs, check);

  pool.on("connect", (client) => void all.add(client));
  pool.on("acquire", (client) => {
    inUse.set(client, performance.now());
    checks.wake();
  });
  pool.on("release", (_error, client) => void inUse.delete(client));
  pool.on("remove", (client) => {
    all.delete(client);
    inUse.delete(client);
  });

  async function check(): Promise<void> {
    const overdue = [...inUse].filter(([, since]) => performance.now() - since > overdueMs);
    if (overdue.length > 0) await cutDead(overdue);
    if (inUse.size > 0) checks.wake();
  }

  async function cutDead(overdue: readonly [pg.PoolClient, number][]): Promise<void> {
    const atWork = await findAtWork(overdue.map(([client]) => processOf(client)));
    // Connections that were released or taken again meanwhile are not asked about.
    const asked = overdue.filter(([client, since]) => inUse.get(client) === since);
    const dead = asked.filter(([client]) => !atWork.has(processOf(client)));
    for (const [client] of asked) inUse.set(client, performance.now());
    if (dead.length === 0) return;
    const idle = [...all].filter((client) => !inUse.has(client));
    for (const client of [...dead.map(([client]) => client), ...idle]) cut(client);
    onCut(dead.length + idle.length);
  }

  async function findAtWork(processes: readonly number[]): Promise<Set<number>> {
    const client = createClient();
    client.on("error", () => {});
    try {
      await client.connect();
      const { rows } = await client.query<{ pid: number }>("SELECT pid FROM pg_stat_activity WHERE pid = ANY ($1)", [
        processes,
      ]);
      return new Set(rows.map(({ pid }) => pid));
    } catch (error) {
      // A refusal, such as of one connection too many, comes from a server that works.
      return error instanceof Error && "severity" in error ? new Set(processes) : new Set();
    } finally {
      void client.end().catch(() => {});
    }
  }
}

/** Missing in the types of pg. */
type Inner = pg.ClientBase & { processID: number; connection: { stream: { destroy(error: Error): void } } };

function processOf(client: pg.ClientBase): number {
  return (client as Inner).processID;
}

export function cut(client: pg.ClientBase): void {
  (client as Inner).connection.stream.destroy(new Error("Connection terminated: the server does not respond"));
}
