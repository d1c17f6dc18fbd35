import assert from "node:assert/strict";
import { test } from "node:test";
import { Worker } from "node:worker_threads";
import { readProcesses } from "./processes.ts";

const own = () => readProcesses().find(({ pid }) => pid === process.pid)!;
const tickUs = 10_000;

test(
  "CPU times are finer than ticks, also after a thread has ended",
  { skip: process.platform !== "linux" },
  async () => {
    const worker = new Worker("const until = Date.now() + 50; while (Date.now() < until);", { eval: true });
    await new Promise((resolve) => worker.once("exit", resolve));
    const grown = new Set<number>();
    for (let round = 0; round < 5; round += 1) {
      const before = own().threadsUs;
      const used = process.cpuUsage();
      while (process.cpuUsage(used).user + process.cpuUsage(used).system < 2_000);
      grown.add(own().threadsUs - before);
    }
    const values = [...grown];
    assert.ok(
      values.every((us) => us > 1_000),
      `${values}`,
    );
    assert.ok(
      values.some((us) => us % tickUs !== 0),
      `${values}`,
    );
  },
);
