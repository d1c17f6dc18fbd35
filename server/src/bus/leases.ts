import { type Clock, pause } from "../lib/clock.ts";
import type { Pool } from "../lib/postgres.ts";
import type { Troubles } from "../lib/troubles.ts";
import { createCursors, giveBack, type Ownership, type RenewedRow, renew } from "./cursors.ts";

/** One consumer of a topic: a group in one process. */
export interface ConsumerKey {
  readonly topic: string;
  readonly group: string;
  readonly ownerId: string;
}

export interface LeasesOptions extends ConsumerKey {
  pool: Pool;
  clock: Clock;
  troubles: Troubles;
  leaseMs: number;
  /** There may be something to read. */
  wake: () => void;
  onRevoked?: ((partitions: readonly number[]) => void) | undefined;
  /** There are more consumers of this topic: records published meanwhile may not have woken them. */
  onMoreConsumers: () => void;
}

/** The partitions that a consumer owns, by leases that it renews four times in their duration. */
export class Leases {
  readonly partitions = new Map<number, Ownership>();
  readonly #options: LeasesOptions;
  #heldUntil = 0;
  #consumers = 0;

  constructor(options: LeasesOptions) {
    this.#options = options;
  }

  /** False once the leases have run out: another process may own the partitions. */
  get areHeld(): boolean {
    return this.#options.clock.elapsed() < this.#heldUntil;
  }

  /** Consumers of this topic in all groups and processes; 0 while that is not known. */
  get consumers(): number {
    return this.#consumers;
  }

  /** Renews the leases, and takes free partitions, until the signal. */
  async keep(signal: AbortSignal): Promise<void> {
    const { pool, clock, troubles, topic, group, ownerId, leaseMs, wake, onMoreConsumers } = this.#options;
    const part = `leases of ${group} ${topic}`;
    await createCursors(pool, topic, group).catch(() => {});
    while (!signal.aborted) {
      const startedAt = clock.elapsed();
      try {
        const rows = await renew(pool, topic, group, ownerId, leaseMs);
        if (rows.length === 0) await createCursors(pool, topic, group);
        // Nothing was read while the lease had run out.
        if (!this.areHeld) wake();
        this.#heldUntil = startedAt + leaseMs;
        const before = this.#consumers;
        this.#consumers = rows[0]?.consumers ?? 0;
        if (this.#consumers > before) onMoreConsumers();
        this.#adopt(rows);
        troubles.worked(part);
      } catch (error) {
        troubles.failed(part, error);
        if (!this.areHeld) this.#adopt([]);
      }
      await pause(clock, leaseMs / 4, signal);
    }
  }

  async giveBack(): Promise<void> {
    const { pool, topic, group, ownerId } = this.#options;
    await giveBack(pool, topic, group, ownerId);
  }

  #adopt(rows: readonly RenewedRow[]): void {
    const { onRevoked, wake } = this.#options;
    const held = new Map(rows.map((row) => [row.partition, row]));
    const owned = [...this.partitions];
    const lost = owned.filter(([partition, { epoch }]) => held.get(partition)?.epoch !== epoch).map(([lost]) => lost);
    for (const partition of lost) this.partitions.delete(partition);
    if (lost.length > 0) onRevoked?.(lost);
    for (const { partition, epoch, consumed_offset: offset } of rows) {
      if (this.partitions.has(partition)) continue;
      this.partitions.set(partition, { epoch, consumed: offset, committed: offset, isReady: false, stall: null });
      wake();
    }
  }
}
