type Standing = "quick" | "unknown" | "troubled";

export interface QueuedEndpoint {
  readonly endpointId: string;
  underWay: number;
  /** Doubles with each quick success, falls to one with a failure or a slow response; an ordered endpoint stays at one. */
  maxUnderWay: number;
  standing: Standing;
  /** Something may be due for it that no claim has searched for. */
  hasMore: boolean;
  isQueued: boolean;
}

export interface Turn {
  endpoint: QueuedEndpoint;
  places: number;
}

interface QueueLimits {
  perEndpoint: number;
  share: Record<Standing, number>;
  inAll: number;
}

export const maxRequests = 256;

/** At least half of the places are left to quick endpoints, and a quarter to new ones. */
const defaultLimits: QueueLimits = {
  perEndpoint: 16,
  share: { quick: maxRequests, unknown: maxRequests / 4, troubled: maxRequests / 4 },
  inAll: maxRequests,
};

/** Endpoints kept without a request under way; beyond it they are dropped and start as new. */
const maxIdle = 5_000;

/** Those with few places first: they cannot take more than their share. */
const order = ["unknown", "troubled", "quick"] as const;

/**
 * Decides which endpoint sends next. Endpoints take turns. One that fails, hangs or is new gets one request at a time
 * out of a share for its standing, so that dead endpoints cannot take the places of working ones.
 */
export class EndpointQueue {
  readonly #limits: QueueLimits;
  readonly #endpoints = new Map<string, QueuedEndpoint>();
  readonly #queues: Record<Standing, QueuedEndpoint[]> = { quick: [], unknown: [], troubled: [] };
  readonly #underWay: Record<Standing, number> = { quick: 0, unknown: 0, troubled: 0 };

  constructor(limits: QueueLimits = defaultLimits) {
    this.#limits = limits;
  }

  get underWay(): number {
    return this.#underWay.quick + this.#underWay.unknown + this.#underWay.troubled;
  }

  /** `isFailing` counts when the endpoint is new here. */
  wake(endpointId: string, isFailing = false): void {
    let endpoint = this.#endpoints.get(endpointId);
    if (endpoint === undefined) {
      if (this.#endpoints.size >= maxIdle) this.#forgetIdle();
      const standing = isFailing ? "troubled" : "unknown";
      endpoint = { endpointId, underWay: 0, maxUnderWay: 1, standing, hasMore: true, isQueued: false };
      this.#endpoints.set(endpointId, endpoint);
    }
    endpoint.hasMore = true;
    this.#enqueue(endpoint);
  }

  next(): Turn | null {
    for (const standing of order) {
      const turn = this.#takeFrom(standing);
      if (turn !== null) return turn;
    }
    return null;
  }

  /** How many of the places were filled; fewer means that nothing more is due. */
  settle({ endpoint, places }: Turn, filled: number): void {
    this.#count(endpoint, filled - places);
    endpoint.isQueued = false;
    if (filled === places) endpoint.hasMore = true;
    this.#enqueue(endpoint);
  }

  finish(
    endpoint: QueuedEndpoint,
    { isQuickSuccess, isOrdered }: { isQuickSuccess: boolean; isOrdered: boolean },
  ): void {
    this.#count(endpoint, -1);
    this.#change(endpoint, isQuickSuccess ? "quick" : "troubled");
    endpoint.maxUnderWay =
      !isQuickSuccess || isOrdered ? 1 : Math.min(endpoint.maxUnderWay * 2, this.#limits.perEndpoint);
    this.#enqueue(endpoint);
  }

  #enqueue(endpoint: QueuedEndpoint): void {
    if (endpoint.isQueued || !endpoint.hasMore || endpoint.underWay >= endpoint.maxUnderWay) return;
    endpoint.isQueued = true;
    this.#queues[endpoint.standing].push(endpoint);
  }

  #count(endpoint: QueuedEndpoint, change: number): void {
    endpoint.underWay += change;
    this.#underWay[endpoint.standing] += change;
  }

  /** A queued endpoint stays in the queue of its old standing until its turn. */
  #change(endpoint: QueuedEndpoint, standing: Standing): void {
    this.#underWay[endpoint.standing] -= endpoint.underWay;
    this.#underWay[standing] += endpoint.underWay;
    endpoint.standing = standing;
  }

  #takeFrom(standing: Standing): Turn | null {
    const queue = this.#queues[standing];
    const room = Math.min(this.#limits.inAll - this.underWay, this.#limits.share[standing] - this.#underWay[standing]);
    while (room > 0 && queue.length > 0) {
      const endpoint = queue.shift()!;
      const places = Math.min(endpoint.maxUnderWay - endpoint.underWay, room);
      if (places > 0) {
        endpoint.hasMore = false;
        this.#count(endpoint, places);
        return { endpoint, places };
      }
      endpoint.isQueued = false;
    }
    return null;
  }

  #forgetIdle(): void {
    for (const [endpointId, { underWay, isQueued }] of this.#endpoints) {
      if (underWay === 0 && !isQueued) this.#endpoints.delete(endpointId);
    }
  }
}
