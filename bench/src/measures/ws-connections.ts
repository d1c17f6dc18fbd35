import { setTimeout as delay } from "node:timers/promises";
import { alone, atMost, beside, type Measure, type Row } from "../measure.ts";
import type { SocketsOrder } from "../reference/sockets-process.ts";
import { fill, openArena, startBareServer } from "../sockets/arena.ts";
import { socketsHere } from "../sockets/crowd-child.ts";
import { type MemoryFigures, openInspector } from "../watch/inspector.ts";
import { cpuOf } from "../watch/processes.ts";

const wanted = 10_000;
const idleMs = 20_000;
/** After the last handshake, until what it began has ended. */
const settleMs = 3_000;

/** What ten thousand sockets cost that are there and say nothing, each of another user; beside as many of a bare server. */
export const wsConnections: Measure = {
  names: ["ws.connections", "ws.connections.connect", "ws.connections.idle"],
  async run(bench): Promise<Row[]> {
    const count = socketsHere(wanted);
    if (count < wanted) bench.progress(`a process may open few files here: ${count} sockets`);
    const arena = await openArena(bench, { mayCount: false });
    const { hub } = arena;
    const authorizations = await arena.agents(count);
    const inspector = await openInspector(hub.inspectorUrl!);
    const before = await inspector.memory();
    const idleBefore = await idlePercent(hub.pid);
    const { crowd, seconds } = await bench.observer
      .watch({ name: "ws.connections", hub, generatorPid: null }, async () => {
        return { ...(await fill(bench, hub.url, authorizations)), messages: count };
      })
      .then(({ result }) => result);
    await delay(settleMs);
    const after = await inspector.memory();
    const idle = await idlePercent(hub.pid);
    inspector.close();
    await crowd.check();
    await crowd.close();

    const bare = await startBareServer(bench);
    const memory = () => bare.ask<MemoryFigures>({ kind: "memory" } satisfies SocketsOrder);
    const bareBefore = await memory();
    const reference = await fill(bench, bare.url, authorizations);
    await delay(settleMs);
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
    return [
      atMost({ name: "ws.connections", value: own.rss, unit: "KB each" }, 12, theirs.rss),
      beside({ name: "ws.connections.connect", value: seconds, unit: "s" }, reference.seconds),
      alone({ name: "ws.connections.idle", value: idle, unit: "% of a core" }),
    ];
  },
};

/** CPU time of a process while nothing is asked of it. */
async function idlePercent(pid: number): Promise<number> {
  const before = cpuOf(pid);
  await delay(idleMs);
  return ((cpuOf(pid) - before) / (idleMs * 1_000)) * 100;
}
