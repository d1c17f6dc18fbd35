import { parentPort, workerData } from "node:worker_threads";
import { lowerThreadPriority } from "../lib/thread-priority.ts";
import { type ExtractiveOptions, extractSummary } from "./extractive.ts";

/** 0 is normal, 19 is the lowest priority: everything else goes first. */
const niceness = 19;

lowerThreadPriority(niceness);
const { text, options } = workerData as { text: string; options: ExtractiveOptions };
parentPort!.postMessage(extractSummary(text, options));
