import { systemClock } from "../clock.ts";
import type { Log } from "../postgres.ts";
import type { Fanout } from "./fanout.ts";
import { Relay } from "./relay.ts";

/** For the only process on a database: messages stay in it, and none is lost. */
export function openLocalFanout(log: Log): Fanout {
  return new Relay({ clock: systemClock, log, maxPayloadBytes: 7_900, send: async () => {} });
}
