import type { Random } from "../lib/clock.ts";

const second = 1_000;
const minute = 60 * second;
const hour = 60 * minute;

/**
 * How long each attempt waits after the one before it has failed, in milliseconds: ten attempts within about 76 hours.
 * Source: Standard Webhooks 1.0, "Deliverability and reliability".
 */
export const retryDelaysMs: readonly number[] = [
  0,
  5 * second,
  5 * minute,
  30 * minute,
  2 * hour,
  5 * hour,
  10 * hour,
  14 * hour,
  20 * hour,
  24 * hour,
];

/** The most that an endpoint may put an attempt off by `retry-after`, in milliseconds. */
export const maxAskedMs = 24 * hour;
/** After this time of nothing but failure an endpoint is disabled, in milliseconds. */
export const patienceMs = 5 * 24 * hour;
/** A wait is up to a tenth shorter or longer, so that what failed together does not return together. */
const jitter = 0.1;

/**
 * How long to wait after the `tries`-th attempt (1 or more) has failed; null after the last. As long as the endpoint
 * asked for, when that is longer, and never sooner than the schedule.
 */
export function retryDelayMs(tries: number, askedMs: number | null, random: Random): number | null {
  const planned = retryDelaysMs[tries];
  if (planned === undefined) return null;
  const own = planned * (1 + (random() * 2 - 1) * jitter);
  return Math.round(Math.max(own, Math.min(askedMs ?? 0, maxAskedMs)));
}
