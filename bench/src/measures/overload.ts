import { checkAccepted, openStage } from "../hub/stage.ts";
import type { Pace } from "../load/run-load.ts";
import { atLeastTimes, atMost, type Measure, median, type Row } from "../measure.ts";
import { socketsHere } from "../sockets/crowd-child.ts";
import { describeCpu } from "../watch/cpu.ts";

const people = 200;
/** The load, as a multiple of the hub's maximum. */
const times = 5;
/** Enough to fill the commits of a busy hub, but too few to wait long. */
const busyConnections = 256;
const rounds = 3;
const busy: Pace = { kind: "closed", durationMs: 3_000, warmUpMs: 2_000, mayBeRefused: true };
/** The first seconds, in which the hub finds its limit, are not measured. */
const flood = { kind: "flood", durationMs: 6_000, warmUpMs: 3_000 } as const;
const crowds = [
  { name: "overload", wanted: 2_000 },
  { name: "overload.crowd", wanted: 10_000 },
];

/**
 * An open loop at five times the hub's maximum: how long accepted requests take, how soon others are refused, and how
 * much of the maximum is still accepted. A request that finds no idle connection is dropped, because a client without
 * one cannot send. Nine of ten connections repeat a refused request at once; one waits for `retry-after`, and the time
 * of its refusals counts. The generator takes its share of the machine in both runs, and more in the flood, without a
 * correction.
 */
export const overload: Measure = {
  names: crowds.flatMap(({ name }) => [`${name}.p99`, `${name}.refused`, `${name}.goodput`]),
  async run(bench) {
    const stage = await openStage(bench, { roles: "api", people });
    const { hub, generator } = stage;
    const traffic = stage.traffic(1);
    let accepted = 0;

    async function load(name: string, connections: number, pace: Pace) {
      const scene = { name, hub, generatorPid: generator.pid };
      const { result, cpu, seconds } = await bench.observer.watch(scene, async () => {
        const result = await generator.run({ traffic, connections, pace });
        return { ...result, messages: result.accepted };
      });
      accepted += result.accepted;
      return {
        ...result,
        perSecond: result.measured / result.seconds,
        costs: describeCpu(cpu, result.messages, seconds),
      };
    }

    const rows: Row[] = [];
    for (const { name, wanted } of crowds) {
      const connections = socketsHere(wanted);
      if (connections < wanted) bench.progress(`this process may open only ${connections} connections`);
      const seen = { most: [] as number[], goodput: [] as number[], p99: [] as number[], refused: [] as number[] };
      for (let round = 1; round <= rounds; round += 1) {
        const most = await load(`${name}.most`, busyConnections, busy);
        const pace = { ...flood, requestsPerSecond: times * most.perSecond };
        const { perSecond, latencyMs, refused, patient, costs, seconds } = await load(name, connections, pace);
        seen.most.push(most.perSecond);
        seen.goodput.push(perSecond);
        seen.p99.push(latencyMs.p99);
        seen.refused.push(patient.p99);
        bench.progress(
          `round ${round}, ${connections} connections: ${most.perSecond.toFixed(0)}/s at most (${most.costs}); of 5 times that ` +
            `${perSecond.toFixed(0)}/s accepted, p50 ${latencyMs.p50.toFixed(0)} ms, p99 ${latencyMs.p99.toFixed(0)} ms; ` +
            `${(refused.measured / seconds).toFixed(0)}/s refused, p50 ${refused.latencyMs.p50.toFixed(0)} ms, p99 ` +
            `${refused.latencyMs.p99.toFixed(0)} ms, of the patient p99 ${patient.p99.toFixed(0)} ms (${costs})`,
        );
      }
      rows.push(
        atMost({ name: `${name}.p99`, value: median(seen.p99), unit: "ms" }, 2_000),
        atMost({ name: `${name}.refused`, value: median(seen.refused), unit: "ms" }, 100),
        atLeastTimes({ name: `${name}.goodput`, value: median(seen.goodput), unit: "/s" }, median(seen.most), 0.9),
      );
    }
    await checkAccepted(stage, accepted);
    return rows;
  },
};
