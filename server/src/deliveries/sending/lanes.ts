import type { ChannelAccountId } from "../../lib/ids.ts";
export interface Waiting {
  deliveryId: string;
  /** Its place in the lane, the lowest first. */
  ordinal: number;
}

/**
 * A lane in memory: at most one delivery under way, the others wait in order. `isComplete` is false when the database
 * has more than `queue`; then nothing is added until the rest is loaded.
 */
export interface Lane {
  readonly laneId: string;
  readonly channelAccountId: ChannelAccountId;
  readonly partition: number;
  state: "idle" | "ready" | "busy" | "parked" | "loading" | "gone";
  queue: Waiting[];
  isComplete: boolean;
  /** The highest place that was ever queued. */
  lastOrdinal: number;
  /** The lowest place that became known after a higher one, to load from there. */
  lateOrdinal: number;
  cancelTimer: () => void;
}

/** Deliveries of a lane in memory; the rest stays in the database. */
export const maxQueued = 64;

export function newLane(laneId: string, channelAccountId: ChannelAccountId, partition: number): Lane {
  return {
    laneId,
    channelAccountId,
    partition,
    state: "idle",
    queue: [],
    isComplete: true,
    lastOrdinal: 0,
    lateOrdinal: Number.POSITIVE_INFINITY,
    cancelTimer: () => {},
  };
}

/**
 * Adds a delivery, or notes that it waits in the database. Places are taken before the commit, so a lower one may
 * become known later; it is of another conversation, since those of one conversation are in order.
 */
export function enqueue(lane: Lane, waiting: Waiting): void {
  if (lane.queue.some(({ deliveryId }) => deliveryId === waiting.deliveryId)) return;
  if (waiting.ordinal <= lane.lastOrdinal) {
    lane.lateOrdinal = Math.min(lane.lateOrdinal, waiting.ordinal);
    lane.isComplete = false;
    return;
  }
  if (!lane.isComplete || lane.state === "loading" || lane.queue.length >= maxQueued) {
    lane.isComplete = false;
    return;
  }
  lane.queue.push(waiting);
  lane.lastOrdinal = waiting.ordinal;
}

export function startLoading(lane: Lane): void {
  lane.state = "loading";
  lane.isComplete = true;
  lane.lastOrdinal = Math.min(lane.lastOrdinal, lane.lateOrdinal - 1);
  lane.lateOrdinal = Number.POSITIVE_INFINITY;
}

/** What waits from this place on is loaded before the lane sends again. */
export function forgetQueue(lane: Lane, from: number): void {
  lane.lateOrdinal = Math.min(lane.lateOrdinal, from);
  lane.queue = [];
  lane.isComplete = false;
}

export function isGone(lane: Lane): boolean {
  return lane.state === "gone";
}
