import { startChild } from "../child.ts";
import { checkAccepted, openStage } from "../hub/stage.ts";
import type { Pace } from "../load/run-load.ts";
import { atMost, type Measure, median } from "../measure.ts";
import type { EchoOrder } from "../reference/echo-process.ts";
import { describeCpu } from "../watch/cpu.ts";

const people = 200;
const busyConnections = 64;
/** Enough for an idle one to be there whenever a request is due. */
const openConnections = 256;
const rounds = 3;

/**
 * Latency of a durable accept at half of the most that this machine accepts. Requests leave when they are due, answered
 * or not, and their time counts from then: a hub that stalls is not spared the requests that it kept from being sent.
 * The echo of `accept.single` at the same rate, as the reference, shows the share of generator and machine.
 */
export const acceptP99: Measure = {
  names: ["accept.p99"],
  async run(bench) {
    const stage = await openStage(bench, { roles: "api", people });
    const { hub, generator } = stage;
    const traffic = stage.traffic(1);
    const most = await generator.run({
      traffic,
      connections: busyConnections,
      pace: { kind: "closed", durationMs: 3_000, warmUpMs: 1_000 },
    });
    let accepted = most.accepted;
    const requestsPerSecond = most.measured / most.seconds / 2;
    const pace: Pace = { kind: "open", durationMs: 2_500, warmUpMs: 500, requestsPerSecond };
    const echo = bench.resources.use(await startChild("./reference/echo-process.ts"));
    const echoUrl = await echo.ask<string>({ databaseUrl: hub.databaseUrl, dataDir: hub.dataDir } satisfies EchoOrder);
    const seen = { hub: [] as number[], echo: [] as number[] };
    for (let round = 1; round <= rounds; round += 1) {
      const scene = { name: "accept.p99", hub, generatorPid: generator.pid };
      const { result, cpu, seconds } = await bench.observer.watch(scene, async () => {
        const load = await generator.run({ traffic, connections: openConnections, pace });
        return { ...load, messages: load.accepted };
      });
      accepted += result.accepted;
      const { p50, p99, max } = result.latencyMs;
      seen.hub.push(p99);
      const echoed = await generator.run({ traffic: { ...traffic, url: echoUrl }, connections: openConnections, pace });
      seen.echo.push(echoed.latencyMs.p99);
      bench.progress(
        `round ${round}: at ${requestsPerSecond.toFixed(0)}/s p50 ${p50.toFixed(2)} ms, p99 ${p99.toFixed(2)} ms, ` +
          `longest ${max.toFixed(2)} ms (${describeCpu(cpu, result.messages, seconds)}), echo p99 ${seen.echo.at(-1)!.toFixed(2)} ms`,
      );
    }
    await checkAccepted(stage, accepted);
    return [atMost({ name: "accept.p99", value: median(seen.hub), unit: "ms" }, 10, median(seen.echo))];
  },
};
