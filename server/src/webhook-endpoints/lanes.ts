/** What one endpoint is worth at the moment: how many requests to it may be under way. */
export interface Lane {
  readonly endpointId: string;
  underWay: number;
  /** Doubles with each quick success, falls to one with a failure or a slow answer; an ordered endpoint stays at one. */
  width: number;
  /** Whether its last answer was a quick success. */
  isProven: boolean;
  /** Whether something may be due for it that no claim has looked for yet. */
  hasMore: boolean;
  /** Whether it stands in a queue, or a claim for it is under way. */
  isQueued: boolean;
}

export interface LaneLimits {
  perEndpoint: number;
  inAll: number;
  /** Of those, for lanes that are not proven: whatever hangs, the others keep the rest. */
  unproven: number;
}

/** Requests of a process under way, in all. */
export const maxRequests = 256;

export const laneLimits: LaneLimits = { perEndpoint: 16, inAll: maxRequests, unproven: maxRequests / 2 };

/** Lanes remembered while nothing is under way for them; more are forgotten and begin anew. */
const maxResting = 5_000;

export type Lanes = ReturnType<typeof openLanes>;

/**
 * Who may send next, fairly: endpoints take turns, and one that fails, hangs or is not known yet gets one request at a
 * time out of a share of its own, so that no number of dead endpoints takes the places of those that live.
 */
export function openLanes(limits: LaneLimits = laneLimits) {
  const lanes = new Map<string, Lane>();
  const queues = { proven: [] as Lane[], unproven: [] as Lane[] };
  let inAll = 0;
  let unproven = 0;

  function enqueue(lane: Lane): void {
    if (lane.isQueued || !lane.hasMore || lane.underWay >= lane.width) return;
    lane.isQueued = true;
    (lane.isProven ? queues.proven : queues.unproven).push(lane);
  }

  function count(lane: Lane, change: number): void {
    lane.underWay += change;
    inAll += change;
    if (!lane.isProven) unproven += change;
  }

  function prove(lane: Lane, isProven: boolean): void {
    if (lane.isProven === isProven) return;
    lane.isProven = isProven;
    unproven += isProven ? -lane.underWay : lane.underWay;
  }

  /** A lane that changes sides keeps its place where it stands; one that has narrowed meanwhile goes without. */
  function takeFrom(queue: Lane[], room: number): { lane: Lane; places: number } | null {
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
    /** Something may be due for the endpoint. */
    rouse(endpointId: string): void {
      let lane = lanes.get(endpointId);
      if (lane === undefined) {
        if (lanes.size >= maxResting) forgetResting(lanes);
        lane = { endpointId, underWay: 0, width: 1, isProven: false, hasMore: true, isQueued: false };
        lanes.set(endpointId, lane);
      }
      lane.hasMore = true;
      enqueue(lane);
    },

    /** Whose turn it is, with the places that it may fill and must give back by `settle`; null when nobody may go. */
    next(): { lane: Lane; places: number } | null {
      const room = limits.inAll - inAll;
      return takeFrom(queues.unproven, Math.min(room, limits.unproven - unproven)) ?? takeFrom(queues.proven, room);
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
      prove(lane, isQuickSuccess);
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
