import type { Measure } from "./measure.ts";
import { acceptBatch } from "./measures/accept-batch.ts";
import { acceptP99 } from "./measures/accept-p99.ts";
import { acceptSingle } from "./measures/accept-single.ts";
import { authLogins } from "./measures/auth-logins.ts";
import { e2eLatency } from "./measures/e2e-latency.ts";
import { e2eThroughput } from "./measures/e2e-throughput.ts";
import { start } from "./measures/start.ts";

/** In the order in which they run. */
export const measures: readonly Measure[] = [
  start,
  acceptSingle,
  acceptBatch,
  acceptP99,
  authLogins,
  e2eThroughput,
  e2eLatency,
];
