import type { Bus } from "../bus/bus.ts";
import type { PipelineDb } from "../database-roles.ts";
import type { EventNotifier } from "../events/events.ts";
import type { Clock } from "../lib/clock.ts";
import type { Log } from "../lib/postgres.ts";
import type { CapabilitiesOf } from "./routing/plan.ts";

/** What the steps share; each function names what it takes of it. */
export interface PipelineDeps {
  db: PipelineDb;
  bus: Bus;
  eventNotifier: EventNotifier;
  clock: Clock;
  log: Log;
  capabilitiesOf: CapabilitiesOf;
}
