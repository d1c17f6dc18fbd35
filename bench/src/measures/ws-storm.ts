import { setTimeout as delay } from "node:timers/promises";
import { atMostTimes, type Bench, beside, type Measure, type Row } from "../measure.ts";
import { type Arena, fill, openArena, startBareServer } from "../sockets/arena.ts";
import { socketsHere } from "../sockets/crowd-child.ts";
import { countStatements, resetStatements } from "../watch/statements.ts";

const wanted = 10_000;
const few = 1_000;
/** Events written while no client is connected, and while they reconnect. */
const missed = 100;
const later = 20;
const settleMs = 3_000;
/** What the hub asks of its database anyway is counted for this long, and taken off. */
const quietMs = 10_000;

/**
 * All clients are cut off at once and reconnect, two hundred handshakes at a time, each from its cursor, while events are
 * written: until every one of them has all of it. It must not cost the database more with more clients.
 */
export const wsStorm: Measure = {
  names: ["ws.storm", "ws.storm.queries"],
  async run(bench): Promise<Row[]> {
    const count = socketsHere(wanted);
    const arena = await openArena(bench, { mayCount: true });
    const authorizations = await arena.agents(count);
    const small = await storm(bench, arena, authorizations.slice(0, few));
    const large = await storm(bench, arena, authorizations);
    const bare = await startBareServer(bench);
    const { crowd } = await fill(bench, bare.url, authorizations);
    const cutAt = await crowd.cut();
    const bareSeconds = ((await crowd.reconnect()) - cutAt) / 1_000;
    return [
      beside({ name: "ws.storm", value: large.seconds, unit: "s" }, bareSeconds),
      atMostTimes({ name: "ws.storm.queries", value: large.queries, unit: "queries" }, small.queries, 1.5),
    ];
  },
};

async function storm(bench: Bench, arena: Arena, authorizations: string[]) {
  const { hub } = arena;
  const { crowd } = await fill(bench, hub.url, authorizations);
  await delay(settleMs);
  const quiet = await countWhile(hub.databaseUrl, () => delay(quietMs));
  const scene = { name: `ws.storm ${authorizations.length}`, hub, generatorPid: crowd.pid };
  const goal = (await arena.head()) + missed + later;
  const { result } = await bench.observer.watch(scene, async () => {
    let seconds = 0;
    const asked = await countWhile(hub.databaseUrl, async () => {
      const cutAt = await crowd.cut();
      await arena.say(missed);
      const back = crowd.reconnect();
      await arena.say(later);
      await back;
      seconds = ((await crowd.reach(goal)).lastAt - cutAt) / 1_000;
    });
    return { seconds, asked, messages: authorizations.length };
  });
  await crowd.check();
  await crowd.close();
  const { seconds, asked } = result;
  const queries = Math.max(1, asked - (quiet / (quietMs / 1_000)) * seconds);
  bench.progress(
    `${authorizations.length} clients: ${seconds.toFixed(2)} s, ${asked} queries, ` +
      `of which ${(asked - queries).toFixed(0)} would have been asked anyway`,
  );
  await delay(settleMs);
  return { seconds, queries };
}

async function countWhile(databaseUrl: string, work: () => Promise<unknown>): Promise<number> {
  await resetStatements(databaseUrl);
  await work();
  return countStatements(databaseUrl);
}
