import type { HubProcess } from "../hub/hub-process.ts";
import { readProcesses } from "./processes.ts";

/** CPU time that each part used, in microseconds. */
export interface CpuSplit {
  hub: number;
  /** The server with all its backends. */
  postgres: number;
  simulator: number;
  generator: number;
}

export const parts = ["hub", "postgres", "simulator", "generator"] as const satisfies (keyof CpuSplit)[];

export function readCpu(hub: Pick<HubProcess, "pid" | "postmasterPid">, generatorPid: number | null): CpuSplit {
  const processes = readProcesses();
  const sum = (isPart: (one: { pid: number; parent: number }) => boolean) =>
    processes.filter(isPart).reduce((total, one) => total + one.cpuUs, 0);
  const { pid, postmasterPid } = hub;
  const postmaster = processes.find((one) => one.pid === postmasterPid);
  return {
    hub: sum((one) => one.pid === pid),
    postgres:
      sum((one) => one.pid === postmasterPid || one.parent === postmasterPid) + (postmaster?.endedChildrenUs ?? 0),
    simulator: sum((one) => one.parent === pid && one.pid !== postmasterPid),
    generator: sum((one) => one.pid === generatorPid),
  };
}

export function subtract(after: CpuSplit, before: CpuSplit): CpuSplit {
  return Object.fromEntries(parts.map((part) => [part, after[part] - before[part]])) as unknown as CpuSplit;
}

export function add(a: CpuSplit, b: CpuSplit): CpuSplit {
  return Object.fromEntries(parts.map((part) => [part, a[part] + b[part]])) as unknown as CpuSplit;
}

/** Such as `hub 51 µs, postgres 30 µs a message`. */
export function describeCpu(cpu: CpuSplit, messages: number): string {
  return `${parts.map((part) => `${part} ${(cpu[part] / messages).toFixed(1)} µs`).join(", ")} a message`;
}
