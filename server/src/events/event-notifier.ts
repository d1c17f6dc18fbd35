import type { Clock } from "../lib/clock.ts";
import type { Fanout } from "../lib/fanout/fanout.ts";
import { type Notifier, openNotifier } from "../lib/fanout/notifier.ts";

/**
 * Notifies all processes of workspaces that have new events: the keys are their ids. Call `notify` after the commit that
 * wrote the events. A notification may be lost or come for nothing, so readers of the feed also poll.
 */
export type EventNotifier = Notifier;

export function openEventNotifier(deps: { fanout: Fanout; clock: Clock }): EventNotifier {
  return openNotifier({ ...deps, channel: "events" });
}
