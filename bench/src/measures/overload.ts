import { checkAccepted } from "../hub/stage.ts";
import type { Pace } from "../load/run-load.ts";
import { atLeastTimes, atMost, compare, type Measure, type Row, row, several } from "../measure.ts";
import { socketsHere } from "../sockets/crowd-child.ts";
import { takeTurns } from "../turns.ts";
import { describeCost } from "../watch/cpu.ts";
import { perSecond } from "./references.ts";

/** The load, as a multiple of the hub's maximum. */
const times = 5;
/** Enough to fill the commits of a busy hub, but too few to wait long. */
const busyConnections = 256;
/** The first seconds, in which the hub finds its limit, are not measured. */
const warmUpMs = 1_200;
/** A turn takes seconds, and all that counts here is large: fewer pairs do. */
const pairsShare = 0.4;
/** Connections, as shares of the plan's sockets, and the fewest that are a crowd. */
const crowds = [
  { name: "overload", share: 0.2, fewest: 1_000 },
  { name: "overload.crowd", share: 1, fewest: 2_000 },
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
  onlyWhenNamed: true,
  async run(bench) {
    const { turnMs: durationMs, sockets } = bench.plan;
    const pairs = Math.ceil(bench.plan.pairs * pairsShare);
    const stage = await bench.stage("accept");
    const traffic = stage.traffic(1);
    const busy: Pace = { kind: "closed", durationMs, warmUpMs, mayBeRefused: true };
    const rows: Row[] = [];
    for (const { name, share, fewest } of crowds) {
      const wanted = Math.max(fewest, sockets * share);
      const connections = socketsHere(wanted);
      if (connections < wanted) bench.progress(`this process may open only ${connections} connections`);
      const measureMost = () => stage.load(`${name}.most`, { traffic, connections: busyConnections, pace: busy });
      const requestsPerSecond = times * perSecond(await measureMost());
      const pace: Pace = { kind: "flood", durationMs, warmUpMs, requestsPerSecond };
      const turns = await takeTurns(
        { flood: () => stage.load(name, { traffic, connections, pace }), most: measureMost },
        pairs,
        ({ flood, most }, pair) => {
          const { latencyMs, refused, patient, seconds } = flood.result;
          bench.progress(
            `pair ${pair}, ${connections} connections: ${perSecond(most).toFixed(0)}/s at most (${describeCost(most)}); of ` +
              `${requestsPerSecond.toFixed(0)}/s ${perSecond(flood).toFixed(0)}/s accepted, p50 ${latencyMs.p50.toFixed(0)} ms, ` +
              `p99 ${latencyMs.p99.toFixed(0)} ms; ${(refused.measured / seconds).toFixed(0)}/s refused, ` +
              `p50 ${refused.latencyMs.p50.toFixed(0)} ms, p99 ${refused.latencyMs.p99.toFixed(0)} ms, ` +
              `of the patient p99 ${patient.p99.toFixed(0)} ms (${describeCost(flood)})`,
          );
        },
        { areWarm: true },
      );
      const p99 = several(turns.flood.map(({ result }) => result.latencyMs.p99));
      const refused = several(turns.flood.map(({ result }) => result.patient.p99));
      const goodput = compare(turns.flood.map(perSecond), turns.most.map(perSecond));
      rows.push(
        row({ name: `${name}.p99`, unit: "ms" }, p99, atMost(2_000)),
        row({ name: `${name}.refused`, unit: "ms" }, refused, atMost(100)),
        row({ name: `${name}.goodput`, unit: "messages/s" }, goodput, atLeastTimes(0.9)),
      );
    }
    await checkAccepted(stage);
    return rows;
  },
};
