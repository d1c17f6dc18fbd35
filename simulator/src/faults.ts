import { invalid } from "./problem.ts";
import type { Random } from "./random.ts";

const maxFaults = 1_000;

/** What can be broken on purpose. The first eight meet a call, the last three a webhook. */
export const faultNames = [
  "rate_limit",
  "server_error",
  "timeout_after_accept",
  "connection_reset",
  "slow",
  "down",
  "permanent",
  "window_closed",
  "duplicate_webhooks",
  "reorder_webhooks",
  "drop_webhooks",
] as const;

export type FaultName = (typeof faultNames)[number];

/** A message, a file that a business uploads, or one that it fetches. */
export const callKinds = ["send", "upload", "download"] as const;

export type CallKind = (typeof callKinds)[number];

interface FaultOrder {
  channel: string;
  fault: FaultName;
  /** Chance, 0 to 1, that it hits when it could. Default 1. */
  probability?: number | undefined;
  count?: number | undefined;
  /** `slow`: the wait (default 2 s); `timeout_after_accept`: the silence (30 s); webhooks: the delay (200 ms). */
  delay_ms?: number | undefined;
  for_ms?: number | undefined;
  to?: string | undefined;
  /** The only kind of call that it hits. */
  call?: CallKind | undefined;
  /** `rate_limit`: the seconds that the platform asks for. Default 1. */
  retry_after_s?: number | undefined;
  code?: number | undefined;
  /** `down`: `true` destroys the socket instead of returning 503. */
  destroy?: boolean | undefined;
}

export interface Fault extends FaultOrder {
  fault_id: string;
  hits: number;
  /** Unix milliseconds; `undefined`: no end. */
  endsAt: number | undefined;
  chance: Random;
}

export class Faults {
  readonly #now: () => number;
  readonly #random: Random;
  #faults: Fault[] = [];
  #made = 0;

  constructor(now: () => number, random: Random) {
    this.#now = now;
    this.#random = random;
  }

  add(order: FaultOrder): Fault {
    if (this.#faults.length >= maxFaults) this.#faults = this.#faults.filter((fault) => this.isActive(fault));
    if (this.#faults.length >= maxFaults) throw invalid(`${maxFaults} faults are at work: DELETE /_sim/faults first`);
    this.#made += 1;
    const fault = {
      ...order,
      fault_id: `fault_${this.#made}`,
      hits: 0,
      endsAt: order.for_ms === undefined ? undefined : this.#now() + order.for_ms,
      chance: this.#random.fork(`fault ${this.#made}`),
    };
    this.#faults.push(fault);
    return fault;
  }

  list(): readonly Fault[] {
    return this.#faults;
  }

  clear(): void {
    this.#faults = [];
  }

  isActive(fault: Fault): boolean {
    if (fault.count !== undefined && fault.hits >= fault.count) return false;
    return fault.endsAt === undefined || this.#now() < fault.endsAt;
  }

  /** The first of the named faults, oldest first, that hits now; its hit is counted. */
  hit(channel: string, names: readonly FaultName[], to: string | undefined, call?: CallKind): Fault | undefined {
    if (this.#faults.length === 0) return undefined;
    for (const fault of this.#faults) {
      if (fault.channel !== channel || !names.includes(fault.fault)) continue;
      if (fault.to !== undefined && fault.to !== to) continue;
      if (fault.call !== undefined && fault.call !== call) continue;
      if (!this.isActive(fault) || fault.chance.next() >= (fault.probability ?? 1)) continue;
      fault.hits += 1;
      return fault;
    }
    return undefined;
  }
}
