import type { Clock } from "../lib/clock.ts";
import type { Fanout } from "../lib/fanout/fanout.ts";
import { type Notifier, openNotifier } from "../lib/fanout/notifier.ts";

/** The keys are workspaces with new events. Call `notify` after the commit. Notifications can be lost, so poll too. */
export type EventNotifier = Notifier;

export function openEventNotifier(deps: { fanout: Fanout; clock: Clock }): EventNotifier {
  return openNotifier({ ...deps, channel: "events" });
}
