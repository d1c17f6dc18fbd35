/** The door of webhook endpoints: programs that are told of events by HTTP. */
import { type DispatcherDeps, openDispatcher } from "./dispatcher.ts";
import { type FollowerDeps, openFollower } from "./follower.ts";

export { listAttempts, type WebhookAttempt } from "./attempts.ts";
export { deleteOldWebhookDeliveries, giveUpDisabled } from "./chores.ts";
export type { WebhookEndpoint } from "./endpoint.ts";
export {
  changeEndpoint,
  createEndpoint,
  type EndpointDeps,
  findEndpoint,
  listEndpoints,
  removeEndpoint,
  rotateSecret,
  type WithSecret,
} from "./endpoints.ts";
export { maxRequests } from "./lanes.ts";
export { replayAttempt, replayRange } from "./replay.ts";
export { answerCut, type SendDeps } from "./send.ts";
export { openTester, type TestDeps, type Tester } from "./tester.ts";

export type WebhooksDeps = DispatcherDeps & Pick<FollowerDeps, "eventNotifier">;

/** Follows the feeds and sends: what a process does for all webhook endpoints. Any number of processes may do it. */
export function startWebhooks(deps: WebhooksDeps): { look(): Promise<void>; close(): Promise<void> } {
  const dispatcher = openDispatcher(deps);
  const follower = openFollower({ ...deps, wake: dispatcher.wake });
  return {
    /** Looks for all there is to do, now; it does so by itself every second. */
    async look() {
      await follower.look();
      await dispatcher.look();
    },
    async close() {
      await follower.close();
      await dispatcher.close();
    },
  };
}
