import { setTimeout as delay } from "node:timers/promises";
import { openDataDir, startHub } from "../hub/bench-hub.ts";
import { call, setUp } from "../hub/setup.ts";
import { atMost, type Measure, once, row, several } from "../measure.ts";
import { cpuOf, readResidentBytes } from "../watch/processes.ts";

const idleMs = 10_000;

/**
 * The time from the start of the process until it says that it is ready, the memory that it then holds, and the CPU
 * time of the hub's process until the first message gets 202.
 */
export const start: Measure = {
  names: ["start.first", "start.warm", "start.cpu", "memory.idle"],
  async run(bench) {
    const dataDir = bench.resources.use(openDataDir()).path;
    const first = bench.resources.use(await startHub({ dataDir }));
    await delay(idleMs);
    const idleMib = readResidentBytes(first.pid) / 2 ** 20;
    const { authorization, conversations } = await setUp(first, 1);
    await first[Symbol.asyncDispose]();
    const cpu: number[] = [];
    const warm: number[] = [];
    for (let count = 0; count < Math.ceil(bench.plan.pairs / 2); count += 1) {
      // Without ADMIN_PASSWORD, which would be checked against the admin's password.
      const hub = bench.resources.use(await startHub({ dataDir, env: { ADMIN_PASSWORD: "" } }));
      warm.push(hub.startedInMs / 1000);
      const payload = { type: "text", text: "the first after a start" };
      const to = conversations[0]!.address;
      await call(hub.url, "/v1/messages", authorization, { to, payload });
      cpu.push(cpuOf(hub.pid) / 1e6);
      await hub[Symbol.asyncDispose]();
    }
    bench.progress(`later starts: ${warm.map((seconds) => `${seconds.toFixed(2)} s`).join(", ")}`);
    bench.progress(`CPU to the first 202: ${cpu.map((seconds) => `${seconds.toFixed(2)} s`).join(", ")}`);
    return [
      row({ name: "start.first", unit: "s" }, once(first.startedInMs / 1000), atMost(10)),
      row({ name: "start.warm", unit: "s" }, several(warm), atMost(2)),
      row({ name: "start.cpu", unit: "s" }, several(cpu), atMost(1.2)),
      row({ name: "memory.idle", unit: "MiB" }, once(idleMib), atMost(150)),
    ];
  },
};
