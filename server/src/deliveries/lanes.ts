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
  /** The highest place that was ever queued here: what comes again is not queued again. */
  lastOrdinal: number;
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
    cancelTimer: () => {},
  };
}

/** Puts a delivery at the end, unless it was there before or must wait in the database. */
export function enqueue(lane: Lane, waiting: Waiting): void {
  if (waiting.ordinal <= lane.lastOrdinal) return;
  if (!lane.isComplete || lane.state === "loading" || lane.queue.length >= maxQueued) {
    lane.isComplete = false;
    return;
  }
  lane.queue.push(waiting);
  lane.lastOrdinal = waiting.ordinal;
}
