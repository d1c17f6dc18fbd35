import { startChild } from "../child.ts";
import { checkAccepted } from "../hub/stage.ts";
import type { Pace } from "../load/run-load.ts";
import { atMost, type Measure, once, row } from "../measure.ts";
import type { ProbeOptions, ProbeResult } from "../sockets/prober.ts";
import { halfOf } from "./references.ts";

const busyConnections = 64;
const openConnections = 256;
/** Messages whose way is timed, for each pair of a plan. */
const probesPerPair = 80;
const warmUp = 30;
const pauseMs = 5;
const firstProbe = 1_000_000_000;
/** The load beside the probes lasts so long for each of them, which is more than they take on most machines. */
const loadMsPerProbe = 12;

/**
 * From the 202 of a message until a socket receives it: with nothing else under way, and beside half of the most that
 * this machine accepts. A message that is received before its 202 counts as 0. The reference is the time from the request to
 * the 202 of the same messages.
 */
export const wsLatency: Measure = {
  names: ["ws.latency.p50", "ws.latency.p99", "ws.latency.loaded.p50", "ws.latency.loaded.p99"],
  async run(bench) {
    const { pairs, turnMs } = bench.plan;
    const stage = await bench.stage("sockets");
    const { hub, authorization, conversations } = stage;
    const prober = bench.resources.use(await startChild("./sockets/prober-process.ts"));
    const { conversationId } = conversations[0]!;
    const traffic = stage.traffic(1);
    const probes = { warmUp, count: pairs * probesPerPair, pauseMs };
    const timed = async (first: number) => {
      const options: ProbeOptions = { url: hub.url, authorization, conversationId, first, ...probes };
      const result = await prober.ask<ProbeResult>(options);
      stage.count(result.sent);
      return { ...result, messages: result.sent };
    };

    const scene = { name: "ws.latency", hub, generatorPid: prober.pid };
    const { result: quiet } = await bench.observer.watch(scene, () => timed(firstProbe));
    const most = await stage.load("ws.latency.most", {
      traffic,
      connections: busyConnections,
      pace: { kind: "closed", durationMs: 2 * turnMs, warmUpMs: turnMs },
    });
    const requestsPerSecond = halfOf(most);
    const durationMs = (probes.warmUp + probes.count) * loadMsPerProbe;
    const pace: Pace = { kind: "open", durationMs, warmUpMs: 0, requestsPerSecond };
    const load = stage.load("ws.latency.loaded", { traffic, connections: openConnections, pace });
    const loaded = await timed(2 * firstProbe);
    await load;
    await checkAccepted(stage);
    bench.progress(
      `alone: received after ${describe(quiet.received)}, accepted after ${describe(quiet.accepted)}; ` +
        `at ${requestsPerSecond.toFixed(0)} messages/s: received after ${describe(loaded.received)}, ` +
        `accepted after ${describe(loaded.accepted)}`,
    );
    const latency = (name: string, result: ProbeResult, at: "p50" | "p99", goal: number) =>
      row({ name, unit: "ms" }, once(result.received[at], result.accepted[at]), atMost(goal));
    return [
      latency("ws.latency.p50", quiet, "p50", 5),
      latency("ws.latency.p99", quiet, "p99", 20),
      latency("ws.latency.loaded.p50", loaded, "p50", 5),
      latency("ws.latency.loaded.p99", loaded, "p99", 20),
    ];
  },
};

function describe({ p50, p99, max }: ProbeResult["received"]): string {
  return `${p50.toFixed(2)} ms (p99 ${p99.toFixed(2)}, longest ${max.toFixed(2)})`;
}
