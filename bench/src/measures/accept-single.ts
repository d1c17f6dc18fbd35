import { startChild } from "../child.ts";
import { checkAccepted, openStage } from "../hub/stage.ts";
import type { Pace } from "../load/run-load.ts";
import { atLeastTimes, type Measure, median } from "../measure.ts";
import type { EchoOrder } from "../reference/echo-process.ts";
import type { InsertOrder, InsertResult } from "../reference/inserts-process.ts";
import { describeCpu } from "../watch/cpu.ts";
import { cpuOf } from "../watch/processes.ts";

const people = 200;
const connections = 64;
const rounds = 5;
const time = { durationMs: 2_000, warmUpMs: 300 };
const pace: Pace = { kind: "closed", ...time };

/**
 * Durable accepts, one message a request, beside an echo of the same requests and beside commits of one row each by as
 * many connections. The three take turns, and the medians count: what the machine does besides meets all of them.
 */
export const acceptSingle: Measure = {
  names: ["accept.single", "accept.single.pg"],
  async run(bench) {
    const stage = await openStage(bench, { roles: "api", people });
    const { hub, generator } = stage;
    const echo = bench.resources.use(await startChild("./reference/echo-process.ts"));
    const echoUrl = await echo.ask<string>({ databaseUrl: hub.databaseUrl, dataDir: hub.dataDir } satisfies EchoOrder);
    const inserts = bench.resources.use(await startChild("./reference/inserts-process.ts"));
    const traffic = stage.traffic(1);
    const insertOrder: InsertOrder = {
      ...time,
      databaseUrl: hub.databaseUrl,
      connections,
      rows: 1,
      conversationIds: traffic.conversationIds,
    };
    const seen = { hub: [] as number[], echo: [] as number[], rows: [] as number[] };
    let accepted = 0;
    for (let round = 1; round <= rounds; round += 1) {
      const scene = { name: "accept.single", hub, generatorPid: generator.pid };
      const { result, cpu, seconds } = await bench.observer.watch(scene, async () => {
        const load = await generator.run({ traffic, connections, pace });
        return { ...load, messages: load.accepted };
      });
      accepted += result.accepted;
      seen.hub.push(result.measured / result.seconds);
      const echoBefore = cpuOf(echo.pid);
      const echoed = await generator.run({ traffic: { ...traffic, url: echoUrl }, connections, pace });
      const echoUs = (cpuOf(echo.pid) - echoBefore) / echoed.accepted;
      seen.echo.push(echoed.measured / echoed.seconds);
      const inserted = await inserts.ask<InsertResult>(insertOrder);
      seen.rows.push(inserted.rows / inserted.seconds);
      bench.progress(
        `round ${round}: hub ${seen.hub.at(-1)!.toFixed(0)}/s (${describeCpu(cpu, result.messages, seconds)}), ` +
          `echo ${seen.echo.at(-1)!.toFixed(0)}/s (${echoUs.toFixed(1)} µs), single rows ${seen.rows.at(-1)!.toFixed(0)}/s`,
      );
    }
    await checkAccepted(stage, accepted);
    const value = median(seen.hub);
    return [
      atLeastTimes({ name: "accept.single", value, unit: "messages/s" }, median(seen.echo), 0.85),
      atLeastTimes({ name: "accept.single.pg", value, unit: "messages/s" }, median(seen.rows), 1),
    ];
  },
};
