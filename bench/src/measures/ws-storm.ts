import { setTimeout as delay } from "node:timers/promises";
import { atMostTimes, type Bench, type Measure, once, type Row, row } from "../measure.ts";
import { type Arena, fill, openArena, startBareServer } from "../sockets/arena.ts";
import { socketsHere } from "../sockets/crowd-child.ts";
import { countStatements, resetStatements } from "../watch/statements.ts";

/** Of the clients, in the storm to which the whole one is compared. */
const fewShare = 0.1;
/** Events written while no client is connected, and while they reconnect. */
const missed = 100;
const later = 20;
/** In turns of the plan. */
const settleTurns = 2;
/** What the hub asks of its database anyway is counted for so many turns, and taken off. */
const quietTurns = 6;

/**
 * All clients are cut off at once and reconnect, two hundred handshakes at a time, each from its cursor, while events are
 * written: until every one of them has all of it. It must not cost the database more with more clients.
 */
export const wsStorm: Measure = {
  names: ["ws.storm", "ws.storm.queries"],
  async run(bench): Promise<Row[]> {
    const count = socketsHere(bench.plan.sockets);
    const arena = await openArena(bench, count);
    const authorizations = arena.agents;
    const small = await storm(bench, arena, authorizations.slice(0, count * fewShare));
    const large = await storm(bench, arena, authorizations);
    const bare = await startBareServer(bench);
    const { crowd } = await fill(bench, bare.url, authorizations);
    const cutAt = await crowd.cut();
    const bareSeconds = ((await crowd.reconnect()) - cutAt) / 1_000;
    const note = `${count} clients`;
    return [
      row({ name: "ws.storm", unit: "s", note }, once(large.seconds, bareSeconds)),
      row({ name: "ws.storm.queries", unit: "queries" }, once(large.queries, small.queries), atMostTimes(1.5)),
    ];
  },
};

async function storm(bench: Bench, arena: Arena, authorizations: string[]) {
  const { hub } = arena.stage;
  const { crowd } = await fill(bench, hub.url, authorizations);
  await delay(settleTurns * bench.plan.turnMs);
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
  // Afterwards, because the hub asks again about a session that it has known for a while, as when clients reconnect late.
  const quietMs = quietTurns * bench.plan.turnMs;
  const quiet = await countWhile(hub.databaseUrl, () => delay(quietMs));
  await crowd.check();
  await crowd.close();
  const { seconds, asked } = result;
  const queries = Math.max(1, asked - (quiet / (quietMs / 1_000)) * seconds);
  bench.progress(
    `${authorizations.length} clients: ${seconds.toFixed(2)} s, ${asked} queries, ` +
      `of which ${(asked - queries).toFixed(0)} would have been asked anyway`,
  );
  await delay(settleTurns * bench.plan.turnMs);
  return { seconds, queries };
}

async function countWhile(databaseUrl: string, work: () => Promise<unknown>): Promise<number> {
  await resetStatements(databaseUrl);
  await work();
  return countStatements(databaseUrl);
}
