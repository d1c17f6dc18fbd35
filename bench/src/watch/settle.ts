import { setTimeout as delay } from "node:timers/promises";
import { type Parts, readCpu } from "./cpu.ts";

const pollMs = 200;
/** Of one core. */
const idleShare = 0.1;
/** What is still under way after so many polls is part of the next turn. */
const maxPolls = 50;

/** Waits until a hub and its database have done what was left to do. */
export async function settle(parts: Parts): Promise<void> {
  for (let polls = 0; polls < maxPolls; polls += 1) {
    const before = readCpu(parts);
    await delay(pollMs);
    const after = readCpu(parts);
    if (after.hub + after.postgres - before.hub - before.postgres < pollMs * 1_000 * idleShare) return;
  }
}
