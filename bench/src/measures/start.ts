import { setTimeout as delay } from "node:timers/promises";
import { openDataDir, startHub } from "../hub/hub-process.ts";
import { atMost, type Measure, median } from "../measure.ts";
import { readResidentBytes } from "../watch/processes.ts";

const idleMs = 10_000;
const warmStarts = 3;

/** From the start of the process until it says that it is ready, with everything in it; and what it then holds. */
export const start: Measure = {
  names: ["start.first", "start.warm", "memory.idle"],
  async run(bench) {
    const dataDir = bench.resources.use(openDataDir()).path;
    const first = bench.resources.use(await startHub({ dataDir }));
    await delay(idleMs);
    const idleMib = readResidentBytes(first.pid) / 2 ** 20;
    await first[Symbol.asyncDispose]();
    const warm: number[] = [];
    for (let count = 0; count < warmStarts; count += 1) {
      const hub = bench.resources.use(await startHub({ dataDir }));
      warm.push(hub.startedInMs / 1000);
      await hub[Symbol.asyncDispose]();
    }
    bench.progress(`later starts: ${warm.map((seconds) => `${seconds.toFixed(2)} s`).join(", ")}`);
    return [
      atMost({ name: "start.first", value: first.startedInMs / 1000, unit: "s" }, 10),
      atMost({ name: "start.warm", value: median(warm), unit: "s" }, 2),
      atMost({ name: "memory.idle", value: idleMib, unit: "MiB" }, 200),
    ];
  },
};
