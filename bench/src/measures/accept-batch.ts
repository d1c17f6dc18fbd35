import { checkAccepted } from "../hub/stage.ts";
import type { Pace } from "../load/run-load.ts";
import { atLeastTimes, compare, type Measure, row, several } from "../measure.ts";
import { takeTurns } from "../turns.ts";
import { describeCost, perCoreSecond } from "../watch/cpu.ts";
import { perSecond, startInserts } from "./references.ts";

const batchSize = 500;
const connections = 2;
const warmUpMs = 200;

/**
 * Durable accepts in batches, beside the bare insert of the same rows by the same driver at equal concurrency: the
 * messages and bus records, in one statement from arrays, which is as fast as long lists of values.
 */
export const acceptBatch: Measure = {
  names: ["accept.batch500", "accept.batch500.rate"],
  async run(bench) {
    const { pairs, turnMs: durationMs } = bench.plan;
    const stage = await bench.stage("accept");
    const pace: Pace = { kind: "closed", durationMs, warmUpMs };
    const insert = await startInserts(bench, stage);
    const turns = await takeTurns(
      {
        hub: () => stage.load("accept.batch500", { traffic: stage.traffic(batchSize), connections, pace }),
        rows: () => insert({ connections, rows: batchSize, durationMs, warmUpMs }),
      },
      pairs,
      ({ hub, rows }, pair) =>
        bench.progress(
          `pair ${pair}: hub ${perSecond(hub).toFixed(0)}/s (${describeCost(hub)}), ` +
            `bare rows ${perSecond(rows).toFixed(0)}/s (${describeCost(rows)})`,
        ),
    );
    await checkAccepted(stage);
    const figures = compare(turns.hub.map(perCoreSecond), turns.rows.map(perCoreSecond));
    return [
      row({ name: "accept.batch500", unit: "messages/core-s" }, figures, atLeastTimes(0.6)),
      row({ name: "accept.batch500.rate", unit: "messages/s" }, several(turns.hub.map(perSecond))),
    ];
  },
};
