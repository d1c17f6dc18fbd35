/**
 * Loaded into a hub by `node --import`: appends the CPU milliseconds of each long turn of the event loop to the file of
 * TURNS_FILE. CPU time, because a turn also lasts long while other programs have the processor.
 */
import { appendFileSync } from "node:fs";
import { isMainThread } from "node:worker_threads";
import { threadCpuMs } from "./thread-cpu.ts";

/** Shorter turns are not recorded. */
const fromMs = 5;
const file = process.env.TURNS_FILE;

let lastMs = threadCpuMs();
function turn(): void {
  const nowMs = threadCpuMs();
  if (nowMs - lastMs >= fromMs) appendFileSync(file!, `${(nowMs - lastMs).toFixed(1)}\n`);
  lastMs = threadCpuMs();
  // At the next turn, or after a millisecond.
  setTimeout(turn, 1).unref();
}
if (isMainThread && file !== undefined) turn();
