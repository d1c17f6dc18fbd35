/** What the bus suite needs of an engine under test, and what its tests share. */

import type { Bus, BusRecord, Consumer, NewRecord } from "../../bus/bus.ts";
import type { Clock } from "../../lib/clock.ts";
import { type Pool, transaction } from "../../lib/postgres.ts";

export const topic = "things";
export const partitions = 8;

interface OpenOptions {
  leaseMs?: number;
  clock?: Clock;
}

/** One store, and as many processes' worth of buses on it as a test opens. The tests close what they open. */
export interface BusHarness extends AsyncDisposable {
  /** Where publishers run their transactions. */
  readonly pool: Pool;
  open(options?: OpenOptions): Promise<Bus & AsyncDisposable>;
  /** A separate process that consumes `topic` for the group and never closes: it only dies. */
  startProcess(group: string, options?: OpenOptions): Promise<{ owned(): number; kill(): void }>;
  /** Breaks every connection of every bus, as an operator or a network would. */
  cutConnections(): Promise<void>;
  /** How many partitions a consumer owns that took them over from another. */
  takenOver(group: string): Promise<number>;
}

export type OpenHarness = () => Promise<BusHarness>;

/** Subscribes and keeps the records. */
export function collect(bus: Bus, group: string, more: Partial<Consumer<number>> = {}): BusRecord<number>[] {
  const seen: BusRecord<number>[] = [];
  bus.subscribe<number>(topic, group, {
    maxBatch: 100,
    handle: async (records) => void seen.push(...records),
    ...more,
  });
  return seen;
}

export async function publish(harness: BusHarness, bus: Bus, records: readonly NewRecord[]): Promise<void> {
  await transaction(harness.pool, (tx) => bus.publish(tx, topic, records));
  bus.wake(topic);
}

export function numbered(key: string, from: number, count: number): NewRecord[] {
  return Array.from({ length: count }, (_, index) => ({ key, value: from + index }));
}

/** Each under its own key, so that all partitions get some. */
export function spread(from: number, count: number): NewRecord[] {
  return Array.from({ length: count }, (_, index) => ({ key: `key ${from + index}`, value: from + index }));
}

export function valuesOf(records: readonly BusRecord<unknown>[]): unknown[] {
  return records.map((record) => record.value);
}

export function upTo(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index + 1);
}
