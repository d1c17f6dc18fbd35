import { setTimeout as delay } from "node:timers/promises";
import { openConnection } from "../load/connection.ts";
import { makeRequest } from "../load/requests.ts";
import { atMostTimes, CheckFailed, type Measure, median, type Row } from "../measure.ts";
import { sharedNow } from "../now.ts";
import type { SocketsOrder } from "../reference/sockets-process.ts";
import { fill, openArena, startBareServer } from "../sockets/arena.ts";
import { type CrowdChild, socketsHere } from "../sockets/crowd-child.ts";

const wanted = 10_000;
const warmUps = 3;
/** Half with the hub's clients connected first, half with the others: the later ones are slightly faster. */
const rounds = 8;
/** About a frame of the hub for a message of 100 characters. */
const frameLength = 590;
const settleMs = 3_000;
const pauseMs = 100;

/**
 * One message to ten thousand sockets: from its 202, or the first byte that a client got if that was sooner, until the
 * last has it. Beside a loop over as many sockets of a bare server, from before its first byte. The two take turns, and
 * their clients are two processes of the same program.
 */
export const wsFanout: Measure = {
  names: ["ws.fanout"],
  async run(bench): Promise<Row[]> {
    const count = socketsHere(wanted);
    const arena = await openArena(bench, { mayCount: false });
    const { hub, authorization, conversations } = arena;
    const authorizations = await arena.agents(count);
    const bare = await startBareServer(bench);
    const send = openSender(hub.url, authorization, conversations[0]!.conversationId);
    const seen = { hub: [] as number[], bare: [] as number[] };

    for (const comeFirst of ["hub", "bare"] as const) {
      const urls = comeFirst === "hub" ? [hub.url, bare.url] : [bare.url, hub.url];
      const crowds = new Map<string, CrowdChild>();
      for (const url of urls) crowds.set(url, (await fill(bench, url, authorizations)).crowd);
      const [crowd, bareCrowd] = [crowds.get(hub.url)!, crowds.get(bare.url)!];
      await delay(settleMs);
      const first = await arena.head();
      for (let round = 1; round <= warmUps + rounds; round += 1) {
        const scene = { name: "ws.fanout", hub, generatorPid: crowd.pid };
        const { result: published } = await bench.observer.watch(scene, async () => {
          return { ...(await publish(crowd, first + round)), messages: 1 };
        });
        await delay(pauseMs);
        const bareMs = await loop(bareCrowd, round);
        await delay(pauseMs);
        if (round <= warmUps) continue;
        seen.hub.push(published.ms);
        seen.bare.push(bareMs);
        bench.progress(
          `round ${seen.hub.length}: hub ${published.ms.toFixed(1)} ms (its first byte after ${published.untilFirst.toFixed(1)}), ` +
            `bare ${bareMs.toFixed(1)} ms`,
        );
      }
      for (const each of crowds.values()) await each.check();
      for (const each of crowds.values()) await each.close();
    }

    async function publish(crowd: CrowdChild, cursor: number) {
      const reached = crowd.reach(cursor);
      const acceptedAt = await send(cursor);
      const { firstAt, lastAt } = await reached;
      return { ms: lastAt - Math.min(acceptedAt, firstAt), untilFirst: firstAt - acceptedAt };
    }

    async function loop(crowd: CrowdChild, cursor: number) {
      const reached = crowd.reach(cursor);
      const startedAt = await bare.ask<number>({ kind: "send", cursor, length: frameLength } satisfies SocketsOrder);
      return (await reached).lastAt - startedAt;
    }

    return [atMostTimes({ name: "ws.fanout", value: median(seen.hub), unit: "ms" }, median(seen.bare), 1)];
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
