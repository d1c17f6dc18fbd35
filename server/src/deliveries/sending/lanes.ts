import type { ChannelAccountId } from "../../lib/ids.ts";

export interface Waiting {
  deliveryId: string;
  /** Its place in the lane, the lowest first. */
  ordinal: number;
}

/** Deliveries of a lane in memory; the rest stays in the database. */
export const maxQueued = 64;

/**
 * A lane in memory: at most one delivery under way, the others wait in order. `isComplete` is false when the database
 * has more than `queue`; then nothing is added until the rest is loaded.
 */
export class Lane {
  readonly laneId: string;
  readonly channelAccountId: ChannelAccountId;
  readonly partition: number;
  state: "idle" | "ready" | "busy" | "parked" | "loading" | "gone" = "idle";
  queue: Waiting[] = [];
  isComplete = true;
  /** The highest place that was ever queued. */
  lastOrdinal = 0;
  /** The lowest place that became known after a higher one, to load from there. */
  lateOrdinal = Number.POSITIVE_INFINITY;
  cancelTimer = () => {};

  constructor(laneId: string, channelAccountId: ChannelAccountId, partition: number) {
    this.laneId = laneId;
    this.channelAccountId = channelAccountId;
    this.partition = partition;
  }

  get isGone(): boolean {
    return this.state === "gone";
  }

  /**
   * Adds a delivery, or notes that it waits in the database. Places are taken before the commit, so a lower one may
   * become known later; it is of another conversation, since those of one conversation are in order.
   */
  enqueue(waiting: Waiting): void {
    if (this.queue.some(({ deliveryId }) => deliveryId === waiting.deliveryId)) return;
    const isLate = waiting.ordinal <= this.lastOrdinal;
    if (isLate) this.lateOrdinal = Math.min(this.lateOrdinal, waiting.ordinal);
    if (isLate || !this.isComplete || this.state === "loading" || this.queue.length >= maxQueued) {
      this.isComplete = false;
      return;
    }
    this.queue.push(waiting);
    this.lastOrdinal = waiting.ordinal;
  }

  startLoading(): void {
    this.state = "loading";
    this.isComplete = true;
    this.lastOrdinal = Math.min(this.lastOrdinal, this.lateOrdinal - 1);
    this.lateOrdinal = Number.POSITIVE_INFINITY;
  }

  /** What waits from this place on is loaded before the lane sends again. */
  forgetQueue(from: number): void {
    this.lateOrdinal = Math.min(this.lateOrdinal, from);
    this.queue = [];
    this.isComplete = false;
  }
}
