import { systemClock } from "../clock.ts";
import type { Log } from "../postgres.ts";
import type { Fanout } from "./fanout.ts";
import { openRelay } from "./relay.ts";

/** For a process that is alone: nothing leaves it, and nothing can be missed. */
export function openLocalFanout(log: Log): Fanout {
  return openRelay({ clock: systemClock, log, maxPayloadBytes: 7_900, send: async () => {} });
}
