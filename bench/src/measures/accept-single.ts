import { checkAccepted } from "../hub/stage.ts";
import type { Pace } from "../load/run-load.ts";
import { atLeastTimes, compare, type Measure, row } from "../measure.ts";
import { takeTurns } from "../turns.ts";
import { describeCost, perCoreSecond } from "../watch/cpu.ts";
import { perSecond, startEcho, startInserts } from "./references.ts";

const connections = 64;
const warmUpMs = 200;

/**
 * Durable accepts, one message a request, beside an echo of the same requests and beside commits of one row each by as
 * many connections; and the rate of those commits beside that of accepts.
 */
export const acceptSingle: Measure = {
  names: ["accept.single", "accept.single.pg", "accept.single.pg.rate"],
  async run(bench) {
    const { pairs, turnMs: durationMs } = bench.plan;
    const stage = await bench.stage("accept");
    const pace: Pace = { kind: "closed", durationMs, warmUpMs };
    const load = { traffic: stage.traffic(1), connections, pace };
    const echo = await startEcho(bench, stage);
    const insert = await startInserts(bench, stage);
    const turns = await takeTurns(
      {
        hub: () => stage.load("accept.single", load),
        echo: () => echo(load),
        rows: () => insert({ connections, rows: 1, durationMs, warmUpMs }),
      },
      pairs,
      ({ hub, echo, rows }, pair) =>
        bench.progress(
          `pair ${pair}: hub ${perSecond(hub).toFixed(0)}/s (${describeCost(hub)}), ` +
            `echo ${perSecond(echo).toFixed(0)}/s (${describeCost(echo)}), ` +
            `single rows ${perSecond(rows).toFixed(0)}/s (${describeCost(rows)})`,
        ),
    );
    await checkAccepted(stage);
    const unit = "messages/core-s";
    const [hub, echoed, rows] = [turns.hub, turns.echo, turns.rows].map((costs) => costs.map(perCoreSecond));
    const rates = compare(turns.hub.map(perSecond), turns.rows.map(perSecond));
    return [
      row({ name: "accept.single", unit }, compare(hub!, echoed!), atLeastTimes(0.5)),
      row({ name: "accept.single.pg", unit }, compare(hub!, rows!), atLeastTimes(1.8)),
      row({ name: "accept.single.pg.rate", unit: "messages/s" }, rates, atLeastTimes(1)),
    ];
  },
};
