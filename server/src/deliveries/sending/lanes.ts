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
  /** The highest place in the queue so far; lower when one below it became known. The next load begins after it. */
  lastOrdinal = 0;
  /** An attempt of this process is under way, or failed in the hub: the database may show it as started. */
  mayBeOpen = false;
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
    const hasRoom = this.isComplete && this.state !== "loading" && this.queue.length < maxQueued;
    if (hasRoom && waiting.ordinal > this.lastOrdinal) {
      this.queue.push(waiting);
      this.lastOrdinal = waiting.ordinal;
    } else {
      this.isComplete = false;
      this.lastOrdinal = Math.min(this.lastOrdinal, waiting.ordinal - 1);
    }
  }

  startLoading(): void {
    this.state = "loading";
    this.isComplete = true;
  }

  /** At most `maxQueued`. What became known meanwhile may be lower: then the next load begins where this one did. */
  loaded(heads: readonly Waiting[]): void {
    this.queue.push(...heads);
    if (this.isComplete) this.lastOrdinal = heads.at(-1)?.ordinal ?? this.lastOrdinal;
    this.isComplete &&= heads.length < maxQueued;
  }

  /** What waits from this place on is loaded before the lane sends again. */
  forgetQueue(from: number): void {
    this.queue = [];
    this.isComplete = false;
    this.lastOrdinal = Math.min(this.lastOrdinal, from - 1);
  }
}
