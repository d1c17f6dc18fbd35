import { patient } from "./patience.ts";

/** The least that a test waits for something that must come, in milliseconds: it waits only as long as it has to. */
export const leastPatienceMs = 20_000;

/** Asks again and again, without keeping the processor busy, until the condition holds; fails after `withinMs`. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  withinMs: number,
  complaint: string,
): Promise<void> {
  const limitMs = patient(Math.max(withinMs, leastPatienceMs));
  const giveUpAt = performance.now() + limitMs;
  while (!(await condition())) {
    if (performance.now() > giveUpAt) throw new Error(`After ${limitMs} ms: ${complaint}.`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
