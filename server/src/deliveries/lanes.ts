/** A delivery that waits in a lane. */
export interface Waiting {
  deliveryId: string;
  /** Its place in the lane: lower goes first. */
  ordinal: number;
}

/**
 * What this process knows of one lane: one delivery is under way at most, those behind it wait in order. `isComplete`
 * is false when the database holds more than `queue` does: nothing may be added behind the gap until it is loaded.
 */
export interface Lane {
  readonly laneId: string;
  readonly channelAccountId: string;
  readonly partition: number;
  state: "idle" | "ready" | "busy" | "parked" | "loading" | "gone";
  queue: Waiting[];
  isComplete: boolean;
  /** The highest place that was ever queued here. */
  lastOrdinal: number;
  /** Where to load from, if that is further back: the lowest place that became known after a higher one. */
  lateOrdinal: number;
  cancelTimer: () => void;
}

/** Deliveries of one lane held in memory; the rest stays in the database until there is room. */
export const maxQueued = 64;

export function newLane(laneId: string, channelAccountId: string, partition: number): Lane {
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
 * Puts a delivery at the end, or notes that it waits in the database. Places are taken before they are committed, so a
 * lower one may become known after a higher one; it is of another conversation, for each conversation's come in order.
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

/** Forgets, before the lane is loaded, what was known of it beyond what the database will say. */
export function startLoading(lane: Lane): void {
  lane.state = "loading";
  lane.isComplete = true;
  lane.lastOrdinal = Math.min(lane.lastOrdinal, lane.lateOrdinal - 1);
  lane.lateOrdinal = Number.POSITIVE_INFINITY;
}

export function isGone(lane: Lane): boolean {
  return lane.state === "gone";
}
