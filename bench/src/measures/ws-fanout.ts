import { setTimeout as delay } from "node:timers/promises";
import { openConnection } from "../load/connection.ts";
import { makeRequest } from "../load/requests.ts";
import { atMostTimes, CheckFailed, compare, type Measure, type Row, row } from "../measure.ts";
import { sharedNow } from "../now.ts";
import type { SocketsOrder } from "../reference/sockets-process.ts";
import { fill, openArena, startBareServer } from "../sockets/arena.ts";
import { type CrowdChild, socketsHere } from "../sockets/crowd-child.ts";
import { takeTurns } from "../turns.ts";
import { coreUs } from "../watch/cpu.ts";

/** About a frame of the hub for a message of 100 characters. */
const frameLength = 590;
/** In turns of the plan. */
const settleTurns = 2;
const pauseMs = 100;

/**
 * One message to ten thousand sockets: from its 202, or the first byte that a client got if that was sooner, until the
 * last has it. Beside a loop over as many sockets of a bare server, from before its first byte. The two take turns, and
 * their clients are two processes of the same program. Core time is that of the server, its database and the clients.
 */
export const wsFanout: Measure = {
  names: ["ws.fanout", "ws.fanout.cpu"],
  async run(bench): Promise<Row[]> {
    const count = socketsHere(bench.plan.sockets);
    const { stage, agents, head } = await openArena(bench, count);
    const { hub, authorization, conversations } = stage;
    const bare = await startBareServer(bench);
    const send = openSender(hub.url, authorization, conversations[0]!.conversationId);
    const seen = { own: [] as number[], bare: [] as number[], ownUs: [] as number[], bareUs: [] as number[] };

    // The clients that connected later get their messages slightly sooner, so each side is first once.
    for (const order of [[hub.url, bare.url] as const, [bare.url, hub.url] as const]) {
      const crowds = new Map<string, CrowdChild>();
      for (const url of order) crowds.set(url, (await fill(bench, url, agents)).crowd);
      const [crowd, bareCrowd] = [crowds.get(hub.url)!, crowds.get(bare.url)!];
      const scene = { name: "ws.fanout", hub, generatorPid: crowd.pid };
      const bareParts = { hub: bare.pid, postmaster: null, simulator: null, generator: bareCrowd.pid };
      await delay(settleTurns * bench.plan.turnMs);
      let cursor = await head();
      let bareCursor = 0;
      const turns = await takeTurns(
        {
          async hub() {
            await delay(pauseMs);
            cursor += 1;
            return bench.observer.watch(scene, () => publish(crowd, cursor));
          },
          async bare() {
            await delay(pauseMs);
            bareCursor += 1;
            return bench.observer.meter(bareParts, () => loop(bareCrowd, bareCursor));
          },
        },
        bench.plan.pairs,
        ({ hub, bare }, pair) =>
          bench.progress(
            `pair ${pair}: hub ${hub.result.ms.toFixed(1)} ms (its first byte after ${hub.result.untilFirst.toFixed(1)}), ` +
              `bare ${bare.result.ms.toFixed(1)} ms`,
          ),
      );
      for (const each of crowds.values()) await each.check();
      for (const each of crowds.values()) await each.close();
      seen.own.push(...turns.hub.map(({ result }) => result.ms));
      seen.bare.push(...turns.bare.map(({ result }) => result.ms));
      seen.ownUs.push(...turns.hub.map((cost) => coreUs(cost) / count));
      seen.bareUs.push(...turns.bare.map((cost) => coreUs(cost) / count));
    }
    return [
      row({ name: "ws.fanout", unit: "ms", note: `${count} sockets` }, compare(seen.own, seen.bare), atMostTimes(1)),
      row({ name: "ws.fanout.cpu", unit: "µs/socket" }, compare(seen.ownUs, seen.bareUs)),
    ];

    async function publish(crowd: CrowdChild, cursor: number) {
      const reached = crowd.reach(cursor);
      const acceptedAt = await send(cursor);
      stage.count(1);
      const { firstAt, lastAt } = await reached;
      return { ms: lastAt - Math.min(acceptedAt, firstAt), untilFirst: firstAt - acceptedAt, messages: 1 };
    }

    async function loop(crowd: CrowdChild, cursor: number) {
      const reached = crowd.reach(cursor);
      const startedAt = await bare.ask<number>({ kind: "send", cursor, length: frameLength } satisfies SocketsOrder);
      return { ms: (await reached).lastAt - startedAt, messages: 1 };
    }
  },
};

/** Sends message `number`; resolves with when it was accepted. */
function openSender(url: string, authorization: string, conversationId: string) {
  const { hostname: host, port } = new URL(url);
  const request = makeRequest({ url, authorization, conversationIds: [conversationId], batchSize: 1 });
  return async (number: number): Promise<number> => {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    // One for each message: the hub closes a connection that is idle, as while thousands of sockets are opened.
    const connection = await openConnection(
      { host, port: Number(port) },
      ({ status }) => {
        if (status === 202) resolve(sharedNow());
        else reject(new CheckFailed(`A message got ${status}.`));
      },
      reject,
    );
    connection.send(request.fill(number));
    return promise.finally(connection.close);
  };
}
