import { startChild } from "../child.ts";
import type { Stage } from "../hub/stage.ts";
import type { Traffic } from "../load/requests.ts";
import type { Pace } from "../load/run-load.ts";
import type { Bench } from "../measure.ts";
import type { EchoOrder } from "../reference/echo-process.ts";
import type { InsertOrder, InsertResult } from "../reference/inserts-process.ts";

/** A Fastify echo of the same requests with the hub's authentication, under the same generator. */
export async function startEcho(bench: Bench, { hub, generator }: Stage) {
  const echo = bench.resources.use(await startChild("./reference/echo-process.ts"));
  const url = await echo.ask<string>({ databaseUrl: hub.databaseUrl, dataDir: hub.dataDir } satisfies EchoOrder);
  // It asks the database once, and then knows the key.
  const parts = { hub: echo.pid, postmaster: null, simulator: null, generator: generator.pid };
  return (load: { traffic: Traffic; connections: number; pace: Pace }) =>
    bench.observer.meter(parts, async () => {
      const result = await generator.run({ ...load, traffic: { ...load.traffic, url } });
      return { ...result, messages: result.accepted };
    });
}

/** PostgreSQL alone: the same rows, by the same driver. */
export async function startInserts(bench: Bench, { hub, conversations }: Stage) {
  const inserts = bench.resources.use(await startChild("./reference/inserts-process.ts"));
  const parts = { hub: inserts.pid, postmaster: hub.postmasterPid, simulator: null, generator: null };
  const conversationIds = conversations.map(({ conversationId }) => conversationId);
  const ask = <Result>(order: InsertOrder) => inserts.ask<Result>(order);
  return async (load: { connections: number; rows: number; durationMs: number; warmUpMs: number }) => {
    // The hub has its connections too, and its statements are planned.
    await ask({ kind: "open", databaseUrl: hub.databaseUrl, conversationIds, ...load });
    const turn = await bench.observer.meter(parts, async () => {
      const result = await ask<InsertResult>({ kind: "run", conversationIds, ...load });
      return { ...result, messages: result.rows };
    });
    await ask({ kind: "close" });
    return turn;
  };
}

interface Loaded {
  result: { measured: number; seconds: number };
}

/** The rate beside which a latency is measured: half of what a closed load reached. */
export function halfOf(most: Loaded): number {
  return perSecond(most) / 2;
}

/** Messages a second, of wall time. */
export function perSecond({ result }: Loaded): number {
  return result.measured / result.seconds;
}
