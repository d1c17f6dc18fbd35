import type { Measure } from "./measure.ts";
import { acceptBatch } from "./measures/accept-batch.ts";
import { acceptP99 } from "./measures/accept-p99.ts";
import { acceptSingle } from "./measures/accept-single.ts";
import { authCost } from "./measures/auth-cost.ts";
import { authLogins } from "./measures/auth-logins.ts";
import { documentsBeside, documentsExtract } from "./measures/documents.ts";
import { e2eLatency } from "./measures/e2e-latency.ts";
import { e2eThroughput } from "./measures/e2e-throughput.ts";
import { filesMemory, filesSpeed } from "./measures/files.ts";
import { growth } from "./measures/growth.ts";
import { overload } from "./measures/overload.ts";
import { processes } from "./measures/processes.ts";
import { start } from "./measures/start.ts";
import { webhookP99 } from "./measures/webhook-p99.ts";
import { wsConnections } from "./measures/ws-connections.ts";
import { wsFanout } from "./measures/ws-fanout.ts";
import { wsLatency } from "./measures/ws-latency.ts";
import { wsStorm } from "./measures/ws-storm.ts";

/** Those that share a stage are neighbours. */
export const measures: readonly Measure[] = [
  start,
  acceptSingle,
  acceptBatch,
  acceptP99,
  overload,
  authCost,
  authLogins,
  e2eLatency,
  e2eThroughput,
  webhookP99,
  documentsBeside,
  documentsExtract,
  wsConnections,
  wsFanout,
  wsLatency,
  wsStorm,
  filesSpeed,
  filesMemory,
  growth,
  processes,
];
