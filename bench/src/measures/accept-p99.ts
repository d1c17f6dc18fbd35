import { checkAccepted } from "../hub/stage.ts";
import type { Pace } from "../load/run-load.ts";
import { atMost, compare, type Measure, row } from "../measure.ts";
import { takeTurns } from "../turns.ts";
import { describeCost } from "../watch/cpu.ts";
import { halfOf, startEcho } from "./references.ts";

const busyConnections = 64;
/** Enough for an idle one to be there whenever a request is due. */
const openConnections = 256;
const warmUpMs = 300;

/**
 * Latency of a durable accept at half of the most that this machine accepts. Requests leave when they are due, answered
 * or not, and their time counts from then: a hub that stalls is not spared the requests that it kept from being sent.
 * The echo of `accept.single` at the same rate, as the reference, shows the share of generator and machine.
 */
export const acceptP99: Measure = {
  names: ["accept.p99"],
  async run(bench) {
    const { pairs, turnMs: durationMs } = bench.plan;
    const stage = await bench.stage("accept");
    const traffic = stage.traffic(1);
    const busy: Pace = { kind: "closed", durationMs, warmUpMs };
    const most = await stage.load("accept.p99.most", { traffic, connections: busyConnections, pace: busy });
    const requestsPerSecond = halfOf(most);
    const load = {
      traffic,
      connections: openConnections,
      pace: { kind: "open", durationMs, warmUpMs, requestsPerSecond } as const,
    };
    const echo = await startEcho(bench, stage);
    const turns = await takeTurns(
      { hub: () => stage.load("accept.p99", load), echo: () => echo(load) },
      pairs,
      ({ hub, echo }, pair) => {
        const { p50, p99, max } = hub.result.latencyMs;
        bench.progress(
          `pair ${pair}: at ${requestsPerSecond.toFixed(0)}/s p50 ${p50.toFixed(2)} ms, p99 ${p99.toFixed(2)} ms, ` +
            `longest ${max.toFixed(2)} ms (${describeCost(hub)}), echo p99 ${echo.result.latencyMs.p99.toFixed(2)} ms`,
        );
      },
    );
    await checkAccepted(stage);
    const [hub, echoed] = [turns.hub, turns.echo].map((list) => list.map(({ result }) => result.latencyMs.p99));
    return [row({ name: "accept.p99", unit: "ms" }, compare(hub!, echoed!), atMost(8))];
  },
};
