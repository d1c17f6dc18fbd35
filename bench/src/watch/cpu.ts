import { availableParallelism, cpus } from "node:os";
import type { BenchHub } from "../hub/bench-hub.ts";
import { readProcesses } from "./processes.ts";

export interface CpuSplit {
  hub: number;
  /** The server with all its backends. */
  postgres: number;
  simulator: number;
  generator: number;
  /** Programs that have no part in it, the bench itself aside: what they use, the figures lack. */
  others: number;
}

const parts = ["hub", "postgres", "simulator", "generator", "others"] as const satisfies (keyof CpuSplit)[];

export function readCpu(hub: Pick<BenchHub, "pid" | "postmasterPid">, generatorPid: number | null): CpuSplit {
  const processes = readProcesses();
  const sum = (isPart: (one: { pid: number; parent: number }) => boolean) =>
    processes.filter(isPart).reduce((total, one) => total + one.cpuUs, 0);
  const { pid, postmasterPid } = hub;
  const postmaster = processes.find((one) => one.pid === postmasterPid);
  const split = {
    hub: sum((one) => one.pid === pid),
    postgres:
      sum((one) => one.pid === postmasterPid || one.parent === postmasterPid) + (postmaster?.endedChildrenUs ?? 0),
    simulator: sum((one) => one.parent === pid && one.pid !== postmasterPid),
    generator: sum((one) => one.pid === generatorPid),
  };
  const known = Object.values(split).reduce(
    (total, us) => total + us,
    sum((one) => one.pid === process.pid),
  );
  return { ...split, others: readBusyUs() - known };
}

/** Of all processors, by all programs. */
function readBusyUs(): number {
  return cpus().reduce((sum, { times }) => sum + (times.user + times.nice + times.sys + times.irq) * 1000, 0);
}

export function subtract(after: CpuSplit, before: CpuSplit): CpuSplit {
  return Object.fromEntries(parts.map((part) => [part, after[part] - before[part]])) as unknown as CpuSplit;
}

export function add(a: CpuSplit, b: CpuSplit): CpuSplit {
  return Object.fromEntries(parts.map((part) => [part, a[part] + b[part]])) as unknown as CpuSplit;
}

export function describeCpu(cpu: CpuSplit, messages: number, seconds: number): string {
  const own = parts.filter((part) => part !== "others" && cpu[part] > 0);
  const figures = own.map((part) => `${part} ${(cpu[part] / messages).toFixed(1)} µs`);
  return `${figures.join(", ")} a message; others ${Math.round(shareOfOthers(cpu, seconds) * 100)} % of the machine`;
}

/** How much of this machine other programs used meanwhile, from 0 to 1. */
export function shareOfOthers(cpu: CpuSplit, seconds: number): number {
  return Math.max(0, cpu.others / (seconds * 1e6 * availableParallelism()));
}
