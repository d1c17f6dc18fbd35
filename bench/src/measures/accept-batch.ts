import { startChild } from "../child.ts";
import { checkAccepted, openStage } from "../hub/stage.ts";
import type { Pace } from "../load/run-load.ts";
import { atLeastTimes, type Measure, median } from "../measure.ts";
import type { InsertOrder, InsertResult } from "../reference/inserts-process.ts";
import { describeCpu } from "../watch/cpu.ts";

const people = 200;
const batchSize = 500;
const connections = 2;
const rounds = 5;
const time = { durationMs: 2_000, warmUpMs: 300 };
const pace: Pace = { kind: "closed", ...time };

/**
 * Durable accepts in batches, beside the bare insert of the same rows by the same driver at equal concurrency: the
 * messages and bus records, in one statement from arrays, which is as fast as long lists of values.
 */
export const acceptBatch: Measure = {
  names: ["accept.batch500"],
  async run(bench) {
    const stage = await openStage(bench, { roles: "api", people });
    const { hub, generator } = stage;
    const inserts = bench.resources.use(await startChild("./reference/inserts-process.ts"));
    const traffic = stage.traffic(batchSize);
    const insertOrder: InsertOrder = {
      ...time,
      databaseUrl: hub.databaseUrl,
      connections,
      rows: batchSize,
      conversationIds: traffic.conversationIds,
    };
    const seen = { hub: [] as number[], rows: [] as number[] };
    let accepted = 0;
    for (let round = 1; round <= rounds; round += 1) {
      const scene = { name: "accept.batch500", hub, generatorPid: generator.pid };
      const { result, cpu, seconds } = await bench.observer.watch(scene, async () => {
        const load = await generator.run({ traffic, connections, pace });
        return { ...load, messages: load.accepted };
      });
      accepted += result.accepted;
      seen.hub.push(result.measured / result.seconds);
      const inserted = await inserts.ask<InsertResult>(insertOrder);
      seen.rows.push(inserted.rows / inserted.seconds);
      bench.progress(
        `round ${round}: hub ${seen.hub.at(-1)!.toFixed(0)}/s (${describeCpu(cpu, result.messages, seconds)}), ` +
          `bare rows ${seen.rows.at(-1)!.toFixed(0)}/s`,
      );
    }
    await checkAccepted(stage, accepted);
    return [
      atLeastTimes({ name: "accept.batch500", value: median(seen.hub), unit: "messages/s" }, median(seen.rows), 0.8),
    ];
  },
};
