import type { Random } from "../lib/clock.ts";

const second = 1_000;
const minute = 60 * second;
const hour = 60 * minute;

/**
 * The wait of each attempt after the failure of the one before it: ten attempts within about 76 hours.
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

export const maxAskedMs = 24 * hour;
/** An endpoint that fails for this long is disabled. */
export const patienceMs = 5 * 24 * hour;
/** A delay is up to a tenth shorter or longer, so that retries spread out. */
const jitter = 0.1;

/** After the `tries`-th attempt (1 or more); null after the last. At least what the endpoint asked for. */
export function retryDelayMs(tries: number, askedMs: number | null, random: Random): number | null {
  const planned = retryDelaysMs[tries];
  if (planned === undefined) return null;
  const own = planned * (1 + (random() * 2 - 1) * jitter);
  return Math.round(Math.max(own, Math.min(askedMs ?? 0, maxAskedMs)));
}
