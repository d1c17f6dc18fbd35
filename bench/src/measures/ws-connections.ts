import { setTimeout as delay } from "node:timers/promises";
import { atMost, type Measure, once, type Row, row } from "../measure.ts";
import type { SocketsOrder } from "../reference/sockets-process.ts";
import { fill, openArena, startBareServer } from "../sockets/arena.ts";
import { socketsHere } from "../sockets/crowd-child.ts";
import { type MemoryFigures, openInspector } from "../watch/inspector.ts";
import { cpuOf } from "../watch/processes.ts";

/** In turns of the plan. */
const idleTurns = 6;
/** After the last handshake, until what it began has ended; in turns of the plan. */
const settleTurns = 4;

/** What ten thousand sockets cost that are there and say nothing, each of another user; beside as many of a bare server. */
export const wsConnections: Measure = {
  names: ["ws.connections", "ws.connections.connect", "ws.connections.idle"],
  async run(bench): Promise<Row[]> {
    const { sockets } = bench.plan;
    const count = socketsHere(sockets);
    if (count < sockets) bench.progress(`a process may open few files here: ${count} sockets`);
    const { stage, agents: authorizations } = await openArena(bench, count);
    const { hub } = stage;
    const inspector = await openInspector(hub.inspectorUrl!);
    const { turnMs } = bench.plan;
    const idlePercent = (pid: number) => percentOfCore(pid, idleTurns * turnMs);
    // A process keeps some of the memory that it no longer uses for a while.
    await inspector.memory();
    const idleBefore = await idlePercent(hub.pid);
    const before = await inspector.memory();
    const { crowd, seconds } = await bench.observer
      .watch({ name: "ws.connections", hub, generatorPid: null }, async () => {
        return { ...(await fill(bench, hub.url, authorizations)), messages: count };
      })
      .then(({ result }) => result);
    await delay(settleTurns * turnMs);
    const after = await inspector.memory();
    const idle = await idlePercent(hub.pid);
    inspector.close();
    await crowd.check();
    await crowd.close();

    const bare = await startBareServer(bench);
    const memory = () => bare.ask<MemoryFigures>({ kind: "memory" } satisfies SocketsOrder);
    const bareBefore = await memory();
    const reference = await fill(bench, bare.url, authorizations);
    await delay(settleTurns * turnMs);
    const bareAfter = await memory();
    const bareIdle = await idlePercent(bare.pid);
    await reference.crowd.close();

    const each = (from: MemoryFigures, to: MemoryFigures) => ({
      rss: (to.rss - from.rss) / count / 1_000,
      heap: (to.heap - from.heap) / count / 1_000,
    });
    const [own, theirs] = [each(before, after), each(bareBefore, bareAfter)];
    bench.progress(
      `${count} sockets: ${own.rss.toFixed(1)} KB each (heap ${own.heap.toFixed(1)}), bare ${theirs.rss.toFixed(1)} KB ` +
        `(heap ${theirs.heap.toFixed(1)}); idle ${idle.toFixed(1)} % of a core (without sockets ${idleBefore.toFixed(1)} %), ` +
        `bare ${bareIdle.toFixed(1)} %`,
    );
    const note = `${count} sockets`;
    return [
      row({ name: "ws.connections", unit: "KB each", note }, once(own.rss, theirs.rss), atMost(12)),
      row({ name: "ws.connections.connect", unit: "s" }, once(seconds, reference.seconds)),
      row({ name: "ws.connections.idle", unit: "% of a core" }, once(idle)),
    ];
  },
};

/** CPU time of a process while nothing is asked of it. */
async function percentOfCore(pid: number, ms: number): Promise<number> {
  const before = cpuOf(pid);
  await delay(ms);
  return ((cpuOf(pid) - before) / (ms * 1_000)) * 100;
}
