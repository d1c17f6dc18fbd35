/** Whether the last answer of an endpoint was a quick success, or not; unknown before the first. */
export type Standing = "quick" | "unknown" | "troubled";

/** What one endpoint is worth at the moment: how many requests to it may be under way. */
export interface Lane {
  readonly endpointId: string;
  underWay: number;
  /** Doubles with each quick success, falls to one with a failure or a slow answer; an ordered endpoint stays at one. */
  width: number;
  standing: Standing;
  /** Whether something may be due for it that no claim has looked for yet. */
  hasMore: boolean;
  /** Whether it stands in a queue, or a claim for it is under way. */
  isQueued: boolean;
}

export interface LaneLimits {
  perEndpoint: number;
  /** The most for endpoints of each standing. */
  share: Record<Standing, number>;
  inAll: number;
}

/** Requests of a process under way, in all. */
export const maxRequests = 256;

/** Whatever the others do, half of the places are left to those that are quick, and a quarter to those that are new. */
export const laneLimits: LaneLimits = {
  perEndpoint: 16,
  share: { quick: maxRequests, unknown: maxRequests / 4, troubled: maxRequests / 4 },
  inAll: maxRequests,
};

/** Lanes remembered while nothing is under way for them; more are forgotten and begin anew. */
const maxResting = 5_000;

/** Those with few places come first: they cannot take more than their share. */
const turns = ["unknown", "troubled", "quick"] as const;

export type Lanes = ReturnType<typeof openLanes>;

/**
 * Who may send next, fairly: endpoints take turns, and one that fails, hangs or is not known yet gets one request at a
 * time out of a share for its like, so that no number of dead endpoints takes the places of those that live.
 */
export function openLanes(limits: LaneLimits = laneLimits) {
  const lanes = new Map<string, Lane>();
  const queues: Record<Standing, Lane[]> = { quick: [], unknown: [], troubled: [] };
  const underWay: Record<Standing, number> = { quick: 0, unknown: 0, troubled: 0 };
  let inAll = 0;

  function enqueue(lane: Lane): void {
    if (lane.isQueued || !lane.hasMore || lane.underWay >= lane.width) return;
    lane.isQueued = true;
    queues[lane.standing].push(lane);
  }

  function count(lane: Lane, change: number): void {
    lane.underWay += change;
    underWay[lane.standing] += change;
    inAll += change;
  }

  /** It keeps its place in the queue in which it stands until its turn comes. */
  function judge(lane: Lane, standing: Standing): void {
    underWay[lane.standing] -= lane.underWay;
    underWay[standing] += lane.underWay;
    lane.standing = standing;
  }

  /** One that has narrowed since it was queued goes without. */
  function takeFrom(standing: Standing): { lane: Lane; places: number } | null {
    const queue = queues[standing];
    const room = Math.min(limits.inAll - inAll, limits.share[standing] - underWay[standing]);
    while (room > 0 && queue.length > 0) {
      const lane = queue.shift()!;
      const places = Math.min(lane.width - lane.underWay, room);
      if (places > 0) {
        lane.hasMore = false;
        count(lane, places);
        return { lane, places };
      }
      lane.isQueued = false;
    }
    return null;
  }

  return {
    /** Something may be due for the endpoint. `isFailing` is what is known of it from before. */
    wake(endpointId: string, isFailing = false): void {
      let lane = lanes.get(endpointId);
      if (lane === undefined) {
        if (lanes.size >= maxResting) forgetResting(lanes);
        const standing = isFailing ? "troubled" : "unknown";
        lane = { endpointId, underWay: 0, width: 1, standing, hasMore: true, isQueued: false };
        lanes.set(endpointId, lane);
      }
      lane.hasMore = true;
      enqueue(lane);
    },

    /** Whose turn it is, with the places that it may fill and must give back by `settle`; null when nobody may go. */
    next(): { lane: Lane; places: number } | null {
      for (const standing of turns) {
        const turn = takeFrom(standing);
        if (turn !== null) return turn;
      }
      return null;
    },

    /** How many of the places were filled; fewer means that nothing more is due. */
    settle(lane: Lane, places: number, filled: number): void {
      count(lane, filled - places);
      lane.isQueued = false;
      if (filled === places) lane.hasMore = true;
      enqueue(lane);
    },

    /** One request of the lane is over. */
    finish(lane: Lane, { isQuickSuccess, isOrdered }: { isQuickSuccess: boolean; isOrdered: boolean }): void {
      count(lane, -1);
      judge(lane, isQuickSuccess ? "quick" : "troubled");
      lane.width = !isQuickSuccess || isOrdered ? 1 : Math.min(lane.width * 2, limits.perEndpoint);
      enqueue(lane);
    },

    get underWay(): number {
      return inAll;
    },
  };
}

function forgetResting(lanes: Map<string, Lane>): void {
  for (const [endpointId, lane] of lanes) {
    if (lane.underWay === 0 && !lane.isQueued) lanes.delete(endpointId);
  }
}
