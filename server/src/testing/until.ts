import { setTimeout as delay } from "node:timers/promises";
import { patient } from "./patience.ts";

/** The shortest time limit of a wait, in milliseconds. */
export const leastPatienceMs = 20_000;
const pauseMs = 5;

/**
 * Waits until `check` returns something other than `false`, `null` and `undefined`, and returns it. Throws when that
 * takes too long, with the last value as cause. Errors of `check` count as not yet.
 */
export async function until<Found>(
  what: string,
  check: () => Found | Promise<Found>,
  withinMs = leastPatienceMs,
): Promise<Exclude<Found, false | null | undefined>> {
  const limitMs = patient(Math.max(withinMs, leastPatienceMs));
  const giveUpAt = performance.now() + limitMs;
  for (let last: unknown; ; await delay(pauseMs)) {
    try {
      const found = await check();
      if (found !== false && found !== null && found !== undefined) return found as never;
      last = found;
    } catch (error) {
      last = error;
    }
    if (performance.now() > giveUpAt) throw new Error(`Not true within ${limitMs} ms: ${what}.`, { cause: last });
  }
}
