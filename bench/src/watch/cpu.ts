import { availableParallelism, cpus } from "node:os";
import { readProcesses } from "./processes.ts";

/** The processes of what is measured, or of its reference. */
export interface Parts {
  /** The hub, or the program that stands for it. */
  hub: number | readonly number[];
  postmaster: number | null;
  simulator: number | null;
  generator: number | null;
}

/** Microseconds of core time. */
export interface CpuSplit {
  hub: number;
  /** The server with all its backends. */
  postgres: number;
  simulator: number;
  generator: number;
  /** Programs that have no part in it, except for the bench itself: the measured parts lack what these use. */
  others: number;
}

const parts = ["hub", "postgres", "simulator", "generator", "others"] as const satisfies (keyof CpuSplit)[];

export function readCpu({ hub, postmaster, simulator, generator }: Parts): CpuSplit {
  const processes = readProcesses();
  const sum = (isPart: (one: { pid: number; parent: number }) => boolean) =>
    processes.filter(isPart).reduce((total, one) => total + one.threadsUs, 0);
  const ended = processes.find((one) => one.pid === postmaster)?.endedChildrenUs ?? 0;
  const split = {
    hub: sum((one) => [hub].flat().includes(one.pid)),
    postgres: postmaster === null ? 0 : sum((one) => one.pid === postmaster || one.parent === postmaster) + ended,
    simulator: sum((one) => one.pid === simulator),
    generator: sum((one) => one.pid === generator),
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

/** What some messages cost. */
export interface Cost {
  messages: number;
  seconds: number;
  cpu: CpuSplit;
}

/** Core time of all parts for one message, in microseconds. */
export function coreUs({ cpu, messages }: Cost): number {
  return (cpu.hub + cpu.postgres + cpu.simulator + cpu.generator) / messages;
}

/** Messages for each second of core time of all parts: a rate that other load on the machine hardly changes. */
export function perCoreSecond(cost: Cost): number {
  return 1e6 / coreUs(cost);
}

/** Of hub and database for each message, without platform and generator. */
export function storageUs({ cpu, messages }: Cost): number {
  return (cpu.hub + cpu.postgres) / messages;
}

export function describeCost({ cpu, messages, seconds }: Cost): string {
  const own = parts.filter((part) => part !== "others" && cpu[part] > 0);
  const figures = own.map((part) => `${part} ${(cpu[part] / messages).toFixed(1)} µs`);
  return `${figures.join(", ")} a message; others ${Math.round(shareOfOthers(cpu, seconds) * 100)} % of the machine`;
}

/** How much of this machine other programs used meanwhile, from 0 to 1. */
export function shareOfOthers(cpu: CpuSplit, seconds: number): number {
  return Math.max(0, cpu.others / (seconds * 1e6 * availableParallelism()));
}
