import { setTimeout as delay } from "node:timers/promises";
import { patient } from "../../server/src/testing/patience.ts";
import { leastPatienceMs } from "../../server/src/testing/until.ts";

/** How long a test waits for something, unless told otherwise, in milliseconds. */
export const patienceMs = leastPatienceMs;
const pauseMs = 10;

/**
 * Waits until `look` finds something (neither `false`, `null` nor `undefined`), and returns it. Throws when that takes
 * too long, and says what was last seen. Errors of `look` count as not yet.
 */
export async function until<Found>(
  what: string,
  look: () => Found | Promise<Found>,
  withinMs = patienceMs,
): Promise<Exclude<Found, false | null | undefined>> {
  const limitMs = patient(Math.max(withinMs, leastPatienceMs));
  const giveUpAt = performance.now() + limitMs;
  for (let last: unknown; ; await delay(pauseMs)) {
    try {
      const found = await look();
      if (found !== false && found !== null && found !== undefined) return found as never;
      last = found;
    } catch (error) {
      last = error;
    }
    if (performance.now() > giveUpAt)
      throw new Error(`Within ${limitMs} ms it did not come true that ${what}.`, { cause: last });
  }
}

/** Runs `work` over the items, some at a time, results in the items' order. */
export async function inParallel<Item, Result>(
  items: readonly Item[],
  atOnce: number,
  work: (item: Item, index: number) => Promise<Result>,
): Promise<Result[]> {
  const results: Result[] = new Array(items.length);
  let next = 0;
  const worker = async () => {
    for (let index = next++; index < items.length; index = next++) results[index] = await work(items[index]!, index);
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, items.length) }, worker));
  return results;
}
