import { startChild } from "../child.ts";
import { checkAccepted, openStage } from "../hub/stage.ts";
import type { Pace } from "../load/run-load.ts";
import { atMost, type Measure } from "../measure.ts";
import type { ProbeOptions, ProbeResult } from "../sockets/prober.ts";

const people = 200;
const busyConnections = 64;
const openConnections = 256;
/** Messages whose way is timed; the load beside them must last at least as long. */
const probes = { warmUp: 50, count: 500, pauseMs: 5 };
const firstProbe = 1_000_000_000;
const loadMs = 8_000;

/**
 * From the 202 of a message until a socket receives it: with nothing else under way, and beside half of the most that
 * this machine accepts. A message that is received before its 202 counts as 0. The reference is the time from the request to
 * the 202 of the same messages.
 */
export const wsLatency: Measure = {
  names: ["ws.latency.p50", "ws.latency.p99", "ws.latency.loaded.p50", "ws.latency.loaded.p99"],
  async run(bench) {
    const stage = await openStage(bench, { roles: "api,realtime", people });
    const { hub, generator, authorization, conversations } = stage;
    const prober = bench.resources.use(await startChild("./sockets/prober-process.ts"));
    const { conversationId } = conversations[0]!;
    const traffic = stage.traffic(1);
    let accepted = 0;
    const timed = async (first: number) => {
      const options: ProbeOptions = { url: hub.url, authorization, conversationId, first, ...probes };
      const result = await prober.ask<ProbeResult>(options);
      accepted += result.sent;
      return result;
    };

    const scene = { name: "ws.latency", hub, generatorPid: prober.pid };
    const { result: quiet } = await bench.observer.watch(scene, async () => {
      return { ...(await timed(firstProbe)), messages: probes.warmUp + probes.count };
    });
    const most = await generator.run({
      traffic,
      connections: busyConnections,
      pace: { kind: "closed", durationMs: 3_000, warmUpMs: 1_000 },
    });
    const requestsPerSecond = most.measured / most.seconds / 2;
    const pace: Pace = { kind: "open", durationMs: loadMs, warmUpMs: 0, requestsPerSecond };
    const loadScene = { name: "ws.latency.loaded", hub, generatorPid: generator.pid };
    const { result: loaded } = await bench.observer.watch(loadScene, async () => {
      const load = generator.run({ traffic, connections: openConnections, pace });
      const probed = await timed(2 * firstProbe);
      const { accepted: besides } = await load;
      accepted += besides;
      return { ...probed, messages: besides + probed.sent };
    });
    await checkAccepted(stage, accepted + most.accepted);
    bench.progress(
      `alone: received after ${describe(quiet.received)}, accepted after ${describe(quiet.accepted)}; ` +
        `at ${requestsPerSecond.toFixed(0)} messages/s: received after ${describe(loaded.received)}, ` +
        `accepted after ${describe(loaded.accepted)}`,
    );
    const row = (name: string, result: ProbeResult, quantile: "p50" | "p99", goal: number) =>
      atMost({ name, value: result.received[quantile], unit: "ms" }, goal, result.accepted[quantile]);
    return [
      row("ws.latency.p50", quiet, "p50", 5),
      row("ws.latency.p99", quiet, "p99", 20),
      row("ws.latency.loaded.p50", loaded, "p50", 5),
      row("ws.latency.loaded.p99", loaded, "p99", 20),
    ];
  },
};

function describe({ p50, p99, max }: ProbeResult["received"]): string {
  return `${p50.toFixed(2)} ms (p99 ${p99.toFixed(2)}, longest ${max.toFixed(2)})`;
}
