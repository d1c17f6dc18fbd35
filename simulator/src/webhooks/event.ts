import type { Account } from "../accounts.ts";
import type { Random } from "../random.ts";

/** A receipt, or what a person did. Plain JSON, so that it can be journaled. */
export interface WebhookEvent {
  /** 1, 2, 3 … over all platforms; how the journal names it. */
  readonly number: number;
  readonly channel: string;
  readonly account: string;
  /** Whom it is about: faults may pick by it, and ordered platforms keep the order of one person. */
  readonly person: string;
  /** Unix milliseconds: when it happened, from which its expiry counts. */
  readonly happenedAt: number;
  readonly dueAt: number;
  readonly body: unknown;
}

export interface WebhookRules {
  /** `batches`: many events a POST, in no promised order; `queues`: one a POST, those of a person one after another. */
  readonly order: "batches" | "queues";
  inFlight(account: Account): number;
  accepts(status: number): boolean;
  /** Real milliseconds until the next try after so many failures (1, 2 …). */
  retryDelayMs(failures: number, random: Random): number;
  /** The longest wait that a receiver's `Retry-After` may ask for, in real ms; 0: the header is ignored. */
  readonly maxRetryAfterMs: number;
  /** Real milliseconds after `happenedAt` when an event is given up. */
  readonly expiresMs: number;
  /** The POST for these events, the same bytes each time it is asked. */
  request(account: Account, events: readonly WebhookEvent[]): { body: Buffer; headers: Record<string, string> };
}
