/** Webhook endpoints: programs that receive events by HTTP. */
import { Dispatcher, type DispatcherDeps } from "./dispatcher.ts";
import { type FollowerDeps, openFollower } from "./follower.ts";

export { listAttempts } from "./attempts.ts";
export { deleteOldWebhookDeliveries } from "./claims.ts";
export { giveUpDisabled } from "./disable.ts";
export { maxRequests } from "./endpoint-queue.ts";
export { findEndpoint, listEndpoints, type WebhookEndpoint } from "./endpoint-rows.ts";
export { changeEndpoint, createEndpoint, type EndpointDeps, removeEndpoint, rotateSecret } from "./endpoints.ts";
export { replayAttempt, replayRange } from "./replay.ts";
export { sealedWebhookSecrets } from "./secrets.ts";
export { answerCut } from "./send.ts";
export { openTester, type Tester } from "./tester.ts";

/** Follows the feeds and sends the webhooks. Any number of processes may run it. */
export function startWebhookEndpoints(deps: DispatcherDeps & Pick<FollowerDeps, "eventNotifier">): {
  poll(): Promise<void>;
  close(): Promise<void>;
} {
  const { db, clock, log, troubles, eventNotifier } = deps;
  const dispatcher = new Dispatcher(deps);
  const wake: FollowerDeps["wake"] = (endpoints) => dispatcher.wake(endpoints);
  const follower = openFollower({ db, clock, log, troubles, eventNotifier, wake });
  return {
    async poll() {
      await follower.poll();
      await dispatcher.poll();
    },
    async close() {
      await follower.close();
      await dispatcher.close();
    },
  };
}
