import type { Measure } from "./measure.ts";
import { acceptBatch } from "./measures/accept-batch.ts";
import { acceptSingle } from "./measures/accept-single.ts";
import { e2eThroughput } from "./measures/e2e-throughput.ts";

/** In the order in which they run. */
export const measures: readonly Measure[] = [acceptSingle, acceptBatch, e2eThroughput];
