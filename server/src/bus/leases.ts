import { type Clock, pause } from "../lib/clock.ts";
import type { Log, Pool } from "../lib/postgres.ts";
import { thisProcess } from "../lib/this-process.ts";
import type { Troubles } from "../lib/troubles.ts";
import { createCursors, type Ownership, type RenewedRow, renew } from "./cursors.ts";

export interface LeasesOptions {
  topic: string;
  group: string;
  ownerId: string;
  pool: Pool;
  clock: Clock;
  log: Log;
  troubles: Troubles;
  leaseMs: number;
  wake: () => void;
  onRevoked?: ((partitions: readonly number[]) => void) | undefined;
  /** There are more consumers of this topic: records published meanwhile may not have woken them. */
  onMoreConsumers: () => void;
}

/** The partitions that a consumer owns, by leases that it renews four times in their duration. */
export class Leases {
  readonly partitions = new Map<number, Ownership>();
  /** Consumers of this topic in all groups and processes; 0 while that is not known. */
  consumers = 0;
  readonly #options: LeasesOptions;
  #heldUntil = 0;

  constructor(options: LeasesOptions) {
    this.#options = options;
  }

  /** False once the leases have run out: another process may own the partitions. */
  get areHeld(): boolean {
    return this.#options.clock.elapsed() < this.#heldUntil;
  }

  isReady(partition: number): boolean {
    return this.areHeld && this.partitions.get(partition)?.isReady === true;
  }

  async keep(signal: AbortSignal): Promise<void> {
    const { pool, clock, troubles, topic, group, ownerId, leaseMs, wake, onMoreConsumers } = this.#options;
    const part = `leases of ${group} ${topic}`;
    await createCursors(pool, topic, group).catch(() => {});
    while (!signal.aborted) {
      const startedAt = clock.elapsed();
      try {
        const rows = await renew(pool, topic, group, ownerId, leaseMs);
        if (rows.length === 0) await createCursors(pool, topic, group);
        if (!this.areHeld) wake();
        this.#heldUntil = startedAt + leaseMs;
        const before = this.consumers;
        this.consumers = rows[0]?.consumers ?? 0;
        if (this.consumers > before) onMoreConsumers();
        this.#adopt(rows);
        troubles.worked(part);
      } catch (error) {
        troubles.failed(part, error);
        if (!this.areHeld) this.#adopt([]);
      }
      await pause(clock, leaseMs / 4, signal);
    }
  }

  #adopt(rows: readonly RenewedRow[]): void {
    const { log, topic, group, ownerId, onRevoked, wake } = this.#options;
    const held = new Map(rows.map((row) => [row.partition, row]));
    const owned = [...this.partitions];
    const lost = owned.filter(([partition, { epoch }]) => held.get(partition)?.epoch !== epoch).map(([lost]) => lost);
    for (const partition of lost) this.partitions.delete(partition);
    if (lost.length > 0) onRevoked?.(lost);
    const taken = rows.filter(({ partition }) => !this.partitions.has(partition));
    if (taken.length > 0) {
      const partitions = taken.map(({ partition }) => partition).toSorted((a, b) => a - b);
      log.info({ topic, group, owner: ownerId, partitions, ...thisProcess }, "bus: took over partitions");
    }
    for (const { partition, epoch, consumed_offset: offset } of taken) {
      this.partitions.set(partition, { epoch, consumed: offset, committed: offset, isReady: false, stall: null });
      wake();
    }
  }
}
